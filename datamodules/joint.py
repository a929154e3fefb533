"""Clips and stills in one stream: training that learns to move without forgetting how things look."""

from collections.abc import Iterator
from typing import Any

from lightning import LightningDataModule

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from datamodules.datamodule import ClipData, ImageData
from datamodules.reader import EvalLoader, TrainLoader
from mav_lightning.common.errors import UserError

__all__ = ["JointData", "JointLoader"]


class JointLoader:
    """Steps of a batch of clips and a batch of images each, from where the last pass stopped.

    Args:
        clips: A pass over them is a pass of this loader.
        images: Go on from pass to pass on their own.
    """

    def __init__(self, clips: TrainLoader[ClipBatch], images: TrainLoader[ImageBatch]) -> None:
        self.clips, self.images = clips, images
        self._stream: Iterator[ImageBatch] | None = None

    def __len__(self) -> int:
        """Steps in a pass over the clips."""
        return len(self.clips)

    def __iter__(self) -> Iterator[JointBatch]:
        """Gives what is left of the current pass over the clips."""
        for clips in self.clips:
            yield JointBatch(clips, self._next_images())

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"clips": self.clips.state_dict(), "images": self.images.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues after the step at which `state` was taken; raises `UserError` as `TrainLoader` does."""
        self.clips.load_state_dict(state["clips"])
        self.images.load_state_dict(state["images"])
        self._stream = None

    def _next_images(self) -> ImageBatch:
        while True:
            self._stream = self._stream or iter(self.images)
            batch = next(self._stream, None)
            if batch is not None:
                return batch
            self._stream = None  # the next pass


class JointData(LightningDataModule):
    """Clips and stills, each from its own data module. Validation is that of the clips.

    Args:
        clips: With the indexed reader.
        images: With the indexed reader.

    Raises:
        UserError: A streaming reader, which cannot be resumed exactly.
    """

    def __init__(self, clips: ClipData, images: ImageData) -> None:
        super().__init__()
        for name, part in (("clips", clips), ("images", images)):
            if part.reader != "indexed":
                raise UserError(f"data.{name}.reader: must be `indexed` to be mixed, got `{part.reader}`.")
        self.clips, self.images = clips, images

    def setup(self, stage: str) -> None:
        """Opens the training shards of both."""
        for part in (self.clips, self.images):
            part.trainer = self.trainer
            part.setup(stage)

    def train_dataloader(self) -> JointLoader:
        """Endless training steps, this rank's share."""
        clips, images = self.clips.train_dataloader(), self.images.train_dataloader()
        assert isinstance(clips, TrainLoader) and isinstance(images, TrainLoader)  # their readers are indexed
        return JointLoader(clips, images)

    def val_dataloader(self) -> EvalLoader[ClipBatch] | list[ClipBatch]:
        """The clips' validation batches."""
        return self.clips.val_dataloader()

    def on_before_batch_transfer(self, batch: JointBatch | ClipBatch, dataloader_idx: int) -> JointBatch | ClipBatch:
        """Counts the rates of training clips."""
        clips = batch.clips if isinstance(batch, JointBatch) else batch
        self.clips.on_before_batch_transfer(clips, dataloader_idx)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The clips' state."""
        return self.clips.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self.clips.load_state_dict(state_dict)
