"""Drawing clips on several devices."""

from lightning import LightningModule
from torch import nn
from torch.utils.data import DataLoader

from mav_lightning.cascade.generation import Generation

__all__ = ["Drawing"]


class Drawing(LightningModule):
    """A generation under `lightning.Trainer.predict`: each process draws its own share, and nobody a clip twice.

    A clip is the same whichever process draws it. The Trainer needs ``use_distributed_sampler=False``: the shares are
    divided here, exactly, without padding.

    Args:
        generation: The clips to draw.

    Example:
        ``Trainer(devices=2, use_distributed_sampler=False).predict(Drawing(generation), return_predictions=False)``
    """

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self.generation = generation
        self.networks = nn.ModuleDict(generation.pipeline.networks)  # so that they go where the Trainer wants them

    def predict_dataloader(self) -> DataLoader:
        """This process's missing clips, by number, batch by batch."""
        batches = self.generation.batches(self.global_rank, self.trainer.world_size)
        return DataLoader(batches or [[]], batch_size=None)  # type: ignore[arg-type]  # Lightning wants at least one

    def predict_step(self, batch: list[int], batch_idx: int) -> None:
        """Draws and writes the clips of these numbers, which may be none."""
        if batch:
            self.generation.write(batch)

    def on_predict_end(self) -> None:
        """Writes the manifest once all have drawn their share."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            self.generation.finish()
