"""Text encoders in the format of Hugging Face's transformers: read from a local folder, and stored as networks."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import Card
from mav_lightning.networks.stored import write_network

__all__ = ["read_encoder", "write_encoder"]


def read_encoder(kind: Any, folder: Path, tokenizer_kind: Any, tokenizer_folder: Path, what: str) -> tuple[Any, Any]:
    """Read a model and its tokenizer, from safetensors alone, without code of the folder and without the network.

    Args:
        kind: Class of the model in transformers.
        folder: Folder of the model.
        tokenizer_kind: Class of the tokenizer in transformers.
        tokenizer_folder: Folder of the tokenizer.
        what: What the model is called in messages.

    Returns:
        The model in float32, in evaluation mode, and the tokenizer.

    Raises:
        UserError: If a file cannot be read, or a weight is missing.
    """
    try:
        model, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = tokenizer_kind.from_pretrained(tokenizer_folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder}: not a readable {what} ({str(error).splitlines()[0]}).", argument="source"
        ) from error
    if lost := sorted(found["missing_keys"]):
        raise UserError(
            f"{folder}: {len(lost)} weights of the {what} are missing, first `{lost[0]}`; use a complete copy.",
            argument="source",
        )
    return model.eval(), tokenizer


def write_encoder(place: Path, kind: type[nn.Module], model: Any, tokenizer: Any, name: str, **further: Any) -> None:
    """Store a model and its tokenizer as a network that does not need the folder they were read from.

    Args:
        place: Folder for the network.
        kind: Class of the network, which holds the model as ``model``.
        model: The model.
        tokenizer: Its tokenizer.
        name: What the source is called in the network's description.
        **further: Arguments of `kind` besides ``config`` and ``tokenizer``.
    """
    node = {
        "_target_": f"{kind.__module__}.{kind.__name__}",
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        **further,
    }
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    write_network(place, weights, Card.of(node, {"name": name}))
