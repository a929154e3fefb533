"""A data set of one's own: clips of a bright column that moves one pixel per frame."""

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.batch import ClipBatch

__all__ = ["MovingColumns"]


class Columns(Dataset[int]):
    """Numbers of clips."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if index >= self.count:
            raise IndexError(index)
        return index


class MovingColumns(LightningDataModule):
    """Clips of a moving column.

    Args:
        size: Side of the frames in pixels.
        frames: Frames of a clip.
        batch_size: Clips per batch.
        count: Number of clips.
        fps: Frame rate, frames per second.
    """

    def __init__(self, size: int, frames: int, batch_size: int = 4, count: int = 8, fps: float = 8.0) -> None:
        super().__init__()
        self.size, self.frames, self.batch_size, self.count, self.fps = size, frames, batch_size, count, fps

    def train_dataloader(self) -> DataLoader[int]:
        """Return all clips in batches."""
        return DataLoader(Columns(self.count), self.batch_size, collate_fn=self._collate)

    def val_dataloader(self) -> DataLoader[int]:
        """Return the same clips."""
        return self.train_dataloader()

    def _collate(self, numbers: list[int]) -> ClipBatch:
        pixels = torch.full((len(numbers), 3, self.frames, self.size, self.size), -1.0)
        for row, number in enumerate(numbers):
            for frame in range(self.frames):
                pixels[row, :, frame, :, (number + frame) % self.size] = 1.0
        return ClipBatch(pixels=pixels, fps=torch.full((len(numbers),), self.fps), key=[str(n) for n in numbers])
