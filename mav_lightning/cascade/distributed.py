"""Generation of clips on several devices."""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from lightning import LightningModule  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from mav_lightning.cascade.generation import Generation  # noqa: E402

__all__ = ["DistributedGeneration"]


class DistributedGeneration(LightningModule):
    """Generation under `lightning.Trainer.predict`: each rank generates a disjoint subset of the clips.

    A clip is the same on whichever rank it is generated. The Trainer needs ``use_distributed_sampler=False``, because
    the clips are divided here, exactly and without padding.

    Args:
        generation: The clips to generate.

    Example:
        ``Trainer(devices=2, use_distributed_sampler=False).predict(DistributedGeneration(generation),
        return_predictions=False)``
    """

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self.generation = generation
        # Registered as submodules, so that the Trainer moves them to the rank's device.
        self.networks = nn.ModuleList(one.network for one in generation.pipeline.cascade.members.values())

    def predict_dataloader(self) -> DataLoader[list[int]]:
        """Return this rank's missing clips as batches of clip numbers."""
        batches = self.generation.batches(self.global_rank, self.trainer.world_size)
        return DataLoader(batches or [[]], batch_size=None)  # type: ignore[arg-type]  # Lightning needs one batch

    def predict_step(self, batch: list[int], batch_idx: int) -> None:
        """Generate and write the clips with these numbers, which may be none."""
        if batch:
            self.generation.write(batch)

    def on_predict_end(self) -> None:
        """Write the manifest when all ranks have finished."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            self.generation.finish()
