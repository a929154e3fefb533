"""Encoders in the format of Hugging Face's transformers: read from a local folder, and stored as networks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import Card
from mav_lightning.networks.catalogue import node_of
from mav_lightning.networks.stored import write_network

__all__ = ["read_encoder", "read_model", "write_encoder"]

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("spiece.model",))


def read_encoder(kind: Any, folder: Path, tokenizer_kind: Any, tokenizer_folder: Path, what: str) -> tuple[Any, Any]:
    """Read a model and its tokenizer, from safetensors alone, without code of the folder and without the network.

    Args:
        kind: Class of the model in transformers.
        folder: Folder of the model.
        tokenizer_kind: Class of the tokenizer in transformers.
        tokenizer_folder: Folder of the tokenizer.
        what: Name of the model in messages.

    Returns:
        The model in float32, in evaluation mode, and the tokenizer.

    Raises:
        UserError: If a file is missing or cannot be read, or a weight is missing, of another shape or not finite.
    """
    return read_model(kind, folder, what), _read_tokenizer(tokenizer_kind, tokenizer_folder, what)


def read_model(kind: Any, folder: Path, what: str) -> Any:
    """Read a model from safetensors alone, without code of the folder and without the network.

    Args:
        kind: Class of the model in transformers.
        folder: Folder of the model.
        what: Name of the model in messages.

    Returns:
        The model in float32, in evaluation mode.

    Raises:
        UserError: If a file is missing or cannot be read, or a weight is missing, of another shape or not finite.
    """
    try:
        model, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:  # of many types, for one damaged file each
        raise UserError(f"{folder}: not a readable {what} ({_reason(error)}).", argument="source") from error
    _demand_weights(folder, model, found, what)
    return model.eval()


def _read_tokenizer(kind: Any, folder: Path, what: str) -> Any:
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):  # transformers makes one up
        raise UserError(
            f"{folder}: the words of the {what}'s tokenizer are missing, such as {_TOKENIZERS[0][0]}; use a complete "
            "copy.",
            argument="source",
        )
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library that reads tokenizers raises no narrower type
        raise UserError(f"{folder}: not a readable tokenizer ({_reason(error)}).", argument="source") from error


def _demand_weights(folder: Path, model: nn.Module, found: Mapping[str, Any], what: str) -> None:
    """Check that no weight was made up by transformers, and that all are finite."""
    problems = {
        "missing": found["missing_keys"],
        "of another shape than its config describes": [name for name, *_ in found["mismatched_keys"]],
        "not finite": [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())],
    }
    for problem, names in problems.items():
        if names:
            raise UserError(
                f"{folder}: {counted(len(names), 'weight')} of the {what} {'is' if len(names) == 1 else 'are'} "
                f"{problem}, first `{min(names)}`; use a complete copy.",
                argument="source",
            )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def write_encoder(
    place: Path, kind: type[nn.Module], model: Any, name: str, tokenizer: Any = None, **further: Any
) -> None:
    """Store a model as a network that does not need the folder it was read from.

    Args:
        place: Folder for the network.
        kind: Class of the network, which holds the model as ``model``.
        model: The model.
        name: Name of the source in the network's description.
        tokenizer: Tokenizer of the model, an argument of `kind`. None for a model that reads no texts.
        **further: Arguments of `kind` besides ``config`` and ``tokenizer``.
    """
    if tokenizer is not None:
        further["tokenizer"] = tokenizer.backend_tokenizer.to_str()
    node = node_of(kind, config=json.loads(model.config.to_json_string(use_diff=False)), **further)
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    write_network(place, weights, Card.of(node, {"name": name}))
