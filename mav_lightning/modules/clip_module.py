"""Training of the small CLIP on image-text pairs."""

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from datamodules.batch import ImageBatch
from mav_lightning.common.log_names import SCORE, loss_name
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.optim import DEFAULT_OPTIMIZER, DEFAULT_SCHEDULE, MakeOptimizer, Schedule, optimization
from mav_lightning.nn.small_clip import SmallCLIP

__all__ = ["CLIPModule"]


class CLIPModule(NetworkModule):
    """Contrastive training of an image and a text encoder.

    Args:
        clip: The two encoders.
        optimizer: Builds the optimizer from parameter groups. AdamW with learning rate 3e-4 by default.
        schedule: Learning-rate factor by step. Linear warm-up over 100 steps by default.
    """

    network_name = "clip"

    def __init__(
        self, clip: SmallCLIP, optimizer: MakeOptimizer = DEFAULT_OPTIMIZER, schedule: Schedule = DEFAULT_SCHEDULE
    ) -> None:
        super().__init__()
        self.clip, self.make_optimizer, self.schedule = clip, optimizer, schedule

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Compute the contrastive loss of a batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss on held-out pairs, and the retrieval accuracy: is a caption's nearest image one of its own?"""
        self._loss(batch, "val")
        captions = batch.captions()
        nearest = (self.clip.encode_text(captions) @ self.clip.encode_image(batch.pixels).T).argmax(dim=1).tolist()
        accuracy = sum(captions[i] == captions[j] for i, j in enumerate(nearest)) / len(captions)
        self.log(f"{SCORE}/retrieval", accuracy, batch_size=len(captions), sync_dist=True)

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss of test pairs."""
        self._loss(batch, "test")

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Return the embeddings of a batch's images, shape (B, D)."""
        return self.clip.encode_image(batch.pixels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return one optimizer for both encoders."""
        return optimization(self, self.make_optimizer, self.schedule)

    def _loss(self, batch: ImageBatch, stage: str) -> Tensor:
        captions = batch.captions()
        loss = self.clip.loss(batch.pixels, captions)
        self.log(loss_name(stage), loss, batch_size=len(captions), sync_dist=stage != "train", prog_bar=True)
        return loss
