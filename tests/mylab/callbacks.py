"""A Lightning callback of one's own."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["CountSteps"]


class CountSteps(Callback):
    """Writes the number of optimizer steps to a file when training ends.

    Args:
        file: Name of the file, in the run's folder.
    """

    def __init__(self, file: str = "steps.txt") -> None:
        self.file = file

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the number."""
        Path(trainer.default_root_dir, self.file).write_text(str(trainer.global_step))
