"""Extractor weights on disk: one safetensors file and one JSON card each, pinned by sha256."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import nn

from evaluation.extractors.base import Extractor
from evaluation.extractors.shapes import ShapesClip, ShapesImage, ShapesVideo
from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.common.whole_file import whole_file

__all__ = ["EXTRACTORS", "load_extractor", "save_extractor", "weights_sha256"]

WEIGHTS = Path(__file__).parent / "weights"
EXTRACTORS: dict[str, type[ShapesImage] | type[ShapesVideo] | type[ShapesClip]] = {
    "shapes-image": ShapesImage,
    "shapes-video": ShapesVideo,
    "shapes-clip": ShapesClip,
}


def load_extractor(name: str, sha256: str | None = None) -> Extractor:
    """Loads a shipped extractor in evaluation mode, without gradients.

    Args:
        name: Key of `EXTRACTORS`.
        sha256: What the weights must hash to; None takes the card's word for it.

    Raises:
        UserError: Unknown name, or weights other than those pinned.
    """
    if name not in EXTRACTORS:
        raise UserError(f"no extractor `{name}`{did_you_mean(name, EXTRACTORS)}; known: {', '.join(EXTRACTORS)}.")
    card, data = read_card(name), (WEIGHTS / f"{name}.safetensors").read_bytes()
    found, wanted = hashlib.sha256(data).hexdigest(), sha256 or card["sha256"]
    if found != wanted:
        raise UserError(
            f"extractor `{name}`: the weights have sha256 {found}, not {wanted}; restore the shipped file, or name the "
            "new sha256 in a protocol of its own, since its numbers will not compare."
        )
    network = EXTRACTORS[name](**card["arguments"])
    network.load_state_dict(load(data))
    return network.eval().requires_grad_(False)


def weights_sha256(name: str) -> str:
    """The sha256 that the card of a shipped extractor states."""
    return str(read_card(name)["sha256"])


def read_card(name: str) -> dict[str, Any]:
    """What is known of a shipped extractor: sha256, constructor arguments, how it was trained, its accuracies."""
    return json.loads((WEIGHTS / f"{name}.json").read_text())


def save_extractor(name: str, network: nn.Module, arguments: dict[str, Any], facts: dict[str, Any]) -> None:
    """Writes weights and card; `facts` are the recipe's settings and the accuracies it measured."""
    data = save({key: value.contiguous() for key, value in network.state_dict().items()})
    card = {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "arguments": arguments} | facts
    for suffix, content in (("safetensors", data), ("json", (json.dumps(card, indent=1) + "\n").encode())):
        with whole_file(WEIGHTS / f"{name}.{suffix}") as partial:
            partial.write_bytes(content)
