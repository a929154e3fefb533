"""Joint training batches of clips and still images, which keep appearance while motion is learned."""

from collections.abc import Iterator
from typing import Any

from lightning import LightningDataModule

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from datamodules.datamodule import ClipData, ImageData
from datamodules.reader import EvalLoader, TrainLoader
from mav_lightning.common.errors import UserError

__all__ = ["JointData", "JointLoader"]


class JointLoader:
    """Loader that yields one batch of clips and one batch of images per step; it can resume within a pass.

    Args:
        clips: Loader of clips; a pass over it is a pass of this loader.
        images: Loader of images, which runs through its own passes independently.
    """

    def __init__(self, clips: TrainLoader[ClipBatch], images: TrainLoader[ImageBatch]) -> None:
        self.clips, self.images = clips, images
        self._stream: Iterator[ImageBatch] | None = None

    def __len__(self) -> int:
        """Return the steps of a pass over the clips."""
        return len(self.clips)

    def __iter__(self) -> Iterator[JointBatch]:
        """Yield the remaining batches of the current pass over the clips."""
        for clips in self.clips:
            yield JointBatch(clips, self._next_images())

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both loaders."""
        return {"clips": self.clips.state_dict(), "images": self.images.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the step at which `state` was taken.

        Raises:
            UserError: The shards, the seed or the global batch size have changed.
        """
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
    """Clips and still images, each from its own data module. Evaluation uses the clips only.

    Args:
        clips: Clips, with the indexed reader.
        images: Images, with the indexed reader.

    Raises:
        UserError: A part uses the streaming reader, which cannot resume exactly.
    """

    def __init__(self, clips: ClipData, images: ImageData) -> None:
        super().__init__()
        for name, part in (("clips", clips), ("images", images)):
            if part.reader != "indexed":
                raise UserError(f"must use the indexed reader, got `{part.reader}`.", argument=name)
        self.clips, self.images = clips, images

    def setup(self, stage: str | None = None) -> None:
        """Open the shards of both parts; see `ShardData.setup`."""
        self.clips.trainer = self.images.trainer = self.trainer
        self.clips.setup(stage)
        if stage in (None, "fit"):
            self.images.train_dataloader()

    def content_sha256(self) -> dict[str, str]:
        """Return ``clips.root`` and ``images.root`` → sha256 of their samples."""
        parts = {"clips": self.clips.content_sha256(), "images": self.images.content_sha256()}
        return {f"{part}.{key}": sha256 for part, found in parts.items() for key, sha256 in found.items()}

    def train_dataloader(self) -> JointLoader:
        """Return endless training batches: this rank's part."""
        clips, images = self.clips.train_dataloader(), self.images.train_dataloader()
        assert isinstance(clips, TrainLoader) and isinstance(images, TrainLoader)  # their readers are indexed
        return JointLoader(clips, images)

    def val_dataloader(self) -> EvalLoader[ClipBatch] | list[ClipBatch]:
        """Return the clips' validation batches."""
        return self.clips.val_dataloader()

    def test_dataloader(self) -> EvalLoader[ClipBatch]:
        """Return the clips' test batches; see `ShardData.test_dataloader`."""
        self.clips.trainer = self.trainer
        return self.clips.test_dataloader()

    def predict_dataloader(self) -> EvalLoader[ClipBatch]:
        """Return the same batches as `test_dataloader`."""
        return self.test_dataloader()

    def on_before_batch_transfer(self, batch: JointBatch | ClipBatch, dataloader_idx: int) -> JointBatch | ClipBatch:
        """Count the frame rates of training clips."""
        clips = batch.clips if isinstance(batch, JointBatch) else batch
        self.clips.on_before_batch_transfer(clips, dataloader_idx)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the clips' data module."""
        return self.clips.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        self.clips.load_state_dict(state_dict)
