"""Generation of clips on several devices."""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from lightning import LightningModule  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from mav_lightning.cascade.generation import Generation  # noqa: E402
from mav_lightning.common.tracking import Track, untracked  # noqa: E402

__all__ = ["DistributedGeneration"]


class DistributedGeneration(LightningModule):
    """Generation under `lightning.Trainer.predict`: each rank generates a disjoint subset of the clips.

    A clip is the same on whichever rank it is generated. The Trainer needs ``use_distributed_sampler=False``, because
    the clips are divided here, exactly and without padding.

    Args:
        generation: The clips to generate.
        track: Shows progress.

    Example:
        ``Trainer(devices=2, use_distributed_sampler=False).predict(DistributedGeneration(generation),
        return_predictions=False)``
    """

    def __init__(self, generation: Generation, track: Track = untracked) -> None:
        super().__init__()
        self.generation, self.track = generation, track
        # Registered as submodules, so that the Trainer moves them to the rank's device.
        self.networks = nn.ModuleList(one.network for one in generation.pipeline.cascade.members.values())

    def predict_dataloader(self) -> DataLoader[int]:
        """Return this rank as the only item: all its clips are one prediction."""
        return DataLoader([self.global_rank], batch_size=None)  # type: ignore[arg-type]  # a list is a dataset

    def on_predict_start(self) -> None:
        """Make the folder ready before any rank writes."""
        if self.trainer.is_global_zero:
            self.generation.start()
        self.trainer.strategy.barrier()

    def predict_step(self, rank: int, batch_idx: int) -> None:
        """Generate and write this rank's missing clips; only the first rank shows a progress bar, for its own clips."""
        self.generation.run(self.track if self.trainer.is_global_zero else untracked, rank, self.trainer.world_size)

    def on_predict_end(self) -> None:
        """Write the manifest when all ranks have finished."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            self.generation.finish()
