"""A training that says from its first step how to build its network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mav_lightning.checkpoint import write_card

__all__ = ["CardWriter"]


class CardWriter(Callback):
    """Writes ``network.json`` when a training begins, so that its checkpoints can be exported before it ends.

    Args:
        out: The run's folder.
        node: As `write_card`.
        trained: As there.
    """

    def __init__(self, out: Path, node: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        self.out, self.node, self.trained = out, node, trained

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the card, in the first process."""
        if trainer.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            write_card(self.out, self.node, self.trained)
