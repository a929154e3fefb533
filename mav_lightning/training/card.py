"""A training that says from its first step how to build its network."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from mav_lightning.networks.stored import Card, write_card

__all__ = ["CardWriter"]


class CardWriter(Callback):
    """Writes ``network.json`` when a training begins, so that its checkpoints can be exported before it ends.

    Args:
        out: The run's folder.
        card: Describes the network that is trained.
    """

    def __init__(self, out: Path, card: Card) -> None:
        self.out, self.card = out, card

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the card, in the first process."""
        if trainer.is_global_zero:
            write_card(self.out, self.card)
