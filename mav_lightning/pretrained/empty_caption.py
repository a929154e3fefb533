"""The text encoder of a pipeline, and what it makes of the empty caption, which stands for "no condition"."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt, check, read_json
from mav_lightning.common.transformers_library import transformers_library
from mav_lightning.networks.huggingface_encoder import read_encoder
from mav_lightning.pretrained.diffusers_folder import pipeline_of, sibling, weights_file

__all__ = ["caption_files", "caption_length", "encode_caption", "fill_empty_caption", "read_text_encoder"]

_WEIGHTS = "model.safetensors"


def caption_files(folder: Path) -> list[Path]:
    """Return the files of the text encoder and the tokenizer of a model's pipeline; none if it has no text encoder."""
    pipeline = pipeline_of(folder)
    if pipeline is None or not (pipeline / "text_encoder").is_dir():
        return []
    parts = (pipeline / "text_encoder", sibling(folder, "tokenizer"))
    return sorted(file for part in parts for file in part.iterdir() if file.is_file())


def caption_length(folder: Path) -> int:
    """Return the number of tokens of a caption for the text encoder of a model's pipeline.

    Raises:
        UserError: If its config does not contain it.
    """
    file = sibling(folder, "text_encoder") / "config.json"
    config = read_json(file, dict[str, Any], missing="give a complete copy of the pipeline")
    return int(check(config.get("max_position_embeddings"), PositiveInt, f"{file}.max_position_embeddings"))


def read_text_encoder(pipeline: Path, projected: bool) -> tuple[Any, Any]:
    """Read the text encoder and the tokenizer of a pipeline.

    Args:
        pipeline: The pipeline's folder, with the parts ``text_encoder`` and ``tokenizer``.
        projected: Whether the encoder also projects the embedding of the whole caption.

    Raises:
        UserError: If a part is missing or cannot be read, or the extra `clip` is not installed.
    """
    transformers = transformers_library()
    place = pipeline / "text_encoder"
    weights_file(place, _WEIGHTS)
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    tokenizer = transformers.CLIPTokenizer
    return read_encoder(kind, place, tokenizer, pipeline / "tokenizer", "text encoder")


@torch.no_grad()
def encode_caption(folder: Path, caption: str, projected: bool) -> Tensor:
    """Encode a caption as diffusers' pipelines do.

    Args:
        folder: Folder of a model whose pipeline has the parts ``text_encoder`` and ``tokenizer``.
        caption: The caption.
        projected: Whether the caption's projected embedding comes first, and tokens after the caption's end are zeros,
            as the unCLIP decoder takes them.

    Returns:
        Embeddings, shape (tokens, D), or (1 + tokens, D) with the projected one.

    Raises:
        UserError: If a part is missing or cannot be read, or the extra `clip` is not installed.
    """
    sibling(folder, "tokenizer")
    encoder, tokenizer = read_text_encoder(sibling(folder, "text_encoder").parent, projected)
    longest = encoder.config.max_position_embeddings
    tokens = tokenizer(caption, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
    output = encoder(tokens.input_ids)
    states: Tensor = output.last_hidden_state[0]
    if not projected:
        return states
    return torch.cat([output.text_embeds, states * tokens.attention_mask[0][:, None]])


def fill_empty_caption(place: Tensor, folder: Path, projected: bool) -> None:
    """Copy the embeddings of the empty caption into a network.

    Args:
        place: Buffer of the network that stores the embeddings.
        folder: Folder of a model whose pipeline has the parts ``text_encoder`` and ``tokenizer``.
        projected: As of `encode_caption`.

    Raises:
        UserError: If a part is missing or cannot be read, or the embeddings have another shape.
    """
    empty = encode_caption(folder, "", projected)
    if empty.shape != place.shape:
        raise UserError(
            f"{folder}: the text encoder next to it makes {tuple(empty.shape)} of a caption, and the network takes "
            f"{tuple(place.shape)}; give a complete copy of one pipeline.",
            argument="source",
        )
    place.copy_(empty)
