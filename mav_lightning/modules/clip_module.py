"""Training the small CLIP on image-text pairs."""

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from datamodules.batch import ImageBatch
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.optim import MakeOptimizer, Schedule, optimization
from mav_lightning.nn.small_clip import SmallCLIP

__all__ = ["CLIPModule"]


class CLIPModule(NetworkModule):
    """Trains an image and a text encoder by contrast.

    Args:
        clip: The two encoders.
        optimizer: Makes the optimizer from the trainable parameters.
        schedule: Factor of the learning rate by step.
    """

    network_name = "clip"

    def __init__(self, clip: SmallCLIP, optimizer: MakeOptimizer, schedule: Schedule) -> None:
        super().__init__()
        self.clip, self.make_optimizer, self.schedule = clip, optimizer, schedule

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The contrastive loss of one batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Logs the loss on unseen pairs, and how often a caption's nearest image has that caption."""
        self._loss(batch, "val")
        captions = batch.captions()
        nearest = (self.clip.encode_text(captions) @ self.clip.encode_image(batch.pixels).T).argmax(dim=1).tolist()
        right = sum(captions[i] == captions[j] for i, j in enumerate(nearest)) / len(captions)
        self.log("val/retrieval", right, batch_size=len(captions), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer over both encoders."""
        return optimization(self, self.make_optimizer, self.schedule)

    def _loss(self, batch: ImageBatch, stage: str) -> Tensor:
        captions = batch.captions()
        loss = self.clip.loss(batch.pixels, captions)
        self.log(f"{stage}/loss", loss, batch_size=len(captions), sync_dist=stage == "val", prog_bar=True)
        return loss
