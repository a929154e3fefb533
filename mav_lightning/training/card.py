"""The description of a training's network, available from the first step on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mav_lightning.checkpoint import write_card

__all__ = ["CardWriter"]


class CardWriter(Callback):
    """Write ``network.json`` when a training begins, and the same description into every checkpoint.

    Checkpoints can then be exported before the training ends, and `load_from_checkpoint` can build the network.

    Args:
        out: The run's folder.
        node: Config node that builds the network.
        trained: What the network is trained for, see `write_card`.
    """

    def __init__(self, out: Path, node: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        self.out, self.node, self.trained = out, node, trained

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the description, in the first process."""
        if trainer.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            write_card(self.out, self.node, self.trained)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the description to the checkpoint, as plain data."""
        checkpoint["network"] = {"net": dict(self.node), "trained": dict(self.trained)}
