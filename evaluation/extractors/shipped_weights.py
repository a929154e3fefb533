"""Weights of the Shapes World extractors: one safetensors file and one JSON card each, pinned by sha256."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import nn

from evaluation.discovery import find_class
from evaluation.extractors.base import Extractor, ExtractorSettings
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import read_json
from mav_lightning.common.whole_file import whole_file

__all__ = ["WeightsCard", "load_extractor", "read_card", "save_extractor"]

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class WeightsCard:
    """Record of the shipped weights of an extractor.

    Attributes:
        name: Kind of the extractor.
        sha256: sha256 of the weights.
        arguments: Arguments of the network's constructor.
        clips: Number of training clips.
        steps: Number of optimizer steps.
        batch: Clips per step.
        seed: Seed of the training.
        held_out_clips: Number of clips that `accuracy` was measured on.
        accuracy: Name → fraction correct on held-out clips.
        seconds: Training time.
    """

    name: str
    sha256: str
    arguments: dict[str, Any]
    clips: int
    steps: int
    batch: int
    seed: int
    held_out_clips: int
    accuracy: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def load_extractor(kind: str, sha256: str | None = None) -> Extractor:
    """Load a shipped extractor in evaluation mode, without gradients.

    Args:
        kind: Kind of the extractor, which names its files.
        sha256: Expected sha256 of the weights. None expects the one on the card.

    Raises:
        UserError: If there is no such extractor, or the weights are not those expected.
    """
    network = find_class(kind, "evaluation.extractors", ExtractorSettings, "extractor").network
    card, data = read_card(kind), (WEIGHTS / f"{kind}.safetensors").read_bytes()
    found, expected = hashlib.sha256(data).hexdigest(), sha256 or card.sha256
    if found != expected:
        raise UserError(
            f"extractor `{kind}`: the weights have sha256 {found}, not {expected}; restore the shipped file, or pin "
            "the new sha256 in a protocol of another name, since its numbers are not comparable."
        )
    loaded: Extractor = network(**card.arguments)
    loaded.load_state_dict(load(data))
    return loaded.eval().requires_grad_(False)


def read_card(kind: str) -> WeightsCard:
    """Read the card of a shipped extractor.

    Raises:
        UserError: If the card is missing or damaged.
    """
    card: WeightsCard = read_json(WEIGHTS / f"{kind}.json", WeightsCard)
    return card


def save_extractor(kind: str, network: nn.Module, arguments: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write weights and card.

    Args:
        kind: Kind of the extractor.
        network: The trained network.
        arguments: Arguments of its constructor.
        facts: The other fields of `WeightsCard`, except `sha256`.
    """
    data = save({key: value.contiguous() for key, value in network.state_dict().items()})
    card = {"name": kind, "sha256": hashlib.sha256(data).hexdigest(), "arguments": arguments} | facts
    for suffix, content in (("safetensors", data), ("json", (json.dumps(card, indent=1) + "\n").encode())):
        with whole_file(WEIGHTS / f"{kind}.{suffix}") as partial:
            partial.write_bytes(content)
