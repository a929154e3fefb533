"""The description of a training's network, available from the first step on."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mav_lightning.networks.stored import Card, write_card

__all__ = ["CardWriter"]


class CardWriter(Callback):
    """Write ``network.json`` when a training begins, and the same description into every checkpoint.

    Checkpoints can then be exported before the training ends, and `load_from_checkpoint` can build the network.

    Args:
        out: The run's folder.
        card: Description of the network that is trained.
    """

    def __init__(self, out: Path, card: Card) -> None:
        self.out, self.card = out, card

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the description, in the first process."""
        if trainer.is_global_zero:
            write_card(self.out, self.card)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the description of the network to the checkpoint, as plain data."""
        checkpoint["network"] = self.card.network
