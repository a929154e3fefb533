"""What a finished training leaves for others: weights as safetensors, cost as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mav_lightning.common.whole_file import whole_file
from mav_lightning.networks.stored import WEIGHTS, write_network

__all__ = ["COST", "is_finished", "write_results"]

COST = "cost.json"


def write_results(out: Path, weights: Mapping[str, Tensor], cost: Mapping[str, Any]) -> None:
    """Writes the weights, then the cost, whose presence therefore says that both are there.

    Args:
        out: The run's folder.
        weights: A module's state dict, on the CPU, no two entries sharing memory.
        cost: Plain values.
    """
    write_network(out, weights)
    with whole_file(out / COST) as partial:
        partial.write_text(json.dumps(cost, indent=1) + "\n")


def is_finished(out: Path) -> bool:
    """Whether `write_results` has ended in this folder."""
    return (out / COST).is_file() and (out / WEIGHTS).is_file()
