"""A task of one's own: the work of a stage that Lightning does not train."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from mav_lightning.common.schema import PositiveFloat
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.card import WEIGHTS, read_card
from mav_lightning.networks.stored import write_network

__all__ = ["ScaleWeights"]


@dataclass(frozen=True)
class ScaleWeights(Task):
    """Write a trained network with all weights multiplied by a number.

    Attributes:
        source: Folder of the trained network.
        factor: The number.
    """

    source: Path
    factor: PositiveFloat = 0.5

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write the network."""
        weights = {name: self.factor * value for name, value in load_file(self.source / WEIGHTS).items()}
        write_network(place, weights, read_card(self.source))
