"""Typed batches passed from the data modules to the networks; they check themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError

__all__ = ["ClipBatch", "ImageBatch", "JointBatch"]


class _Batch:
    """Common base of image and clip batches, which are dataclasses."""

    pixels: Tensor
    key: list[str]
    latent: bool

    def __len__(self) -> int:
        """Return the number of samples B."""
        return len(self.pixels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch with every tensor on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch with every tensor in page-locked memory, from which a GPU copies faster."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        values = {name: function(value) if isinstance(value, Tensor) else value for name, value in vars(self).items()}
        return type(self)(**values)

    def _check(self, axes: str) -> None:
        """Check the pixels; `axes` spells their shape, such as ``B3HW``."""
        name, pixels, shape = type(self).__name__, self.pixels, tuple(self.pixels.shape)
        if self.latent and pixels.ndim == len(axes):
            return  # any channels, any range
        if pixels.ndim != len(axes) or shape[1] != 3:
            raise ValueError(f"{name}: `pixels` must have shape ({', '.join(axes)}), got {shape}.")
        if not pixels.is_floating_point():
            raise ValueError(f"{name}: `pixels` must be float in [-1, 1], got {pixels.dtype}; scale by x / 127.5 - 1.")
        # One sample reveals forgotten scaling; only on the CPU, as on a GPU this would synchronize with the device.
        if pixels.device.type == "cpu" and pixels.numel() and (peak := float(pixels[0].abs().max())) > 1.01:
            raise ValueError(f"{name}: `pixels` must be in [-1, 1], got magnitude {peak:g}; scale or clamp them.")

    def _check_lengths(self, **columns: list[str] | Tensor | None) -> None:
        for column, values in columns.items():
            if values is not None and len(values) != len(self):
                name = type(self).__name__
                raise ValueError(
                    f"{name}: `{column}` has {counted(len(values), 'entry', 'entries')} for "
                    f"{counted(len(self), 'sample')}; give each one."
                )


@dataclass(frozen=True)
class ImageBatch(_Batch):
    """A batch of still images, with or without text.

    Attributes:
        pixels: Shape (B, 3, H, W), float in [-1, 1].
        caption: One text per image. None if captions were not read.
        key: Names of the B samples.
        embedding: CLIP image embeddings, shape (B, D). None if they are not cached.
        latent: Whether `pixels` are latents of an autoencoder, of any number of channels and any range.
    """

    pixels: Tensor
    caption: list[str] | None
    key: list[str]
    embedding: Tensor | None = None
    latent: bool = False

    def __post_init__(self) -> None:
        """Check shapes, types, range and lengths.

        Raises:
            ValueError: One of them is wrong.
        """
        self._check("B3HW")
        self._check_lengths(key=self.key, caption=self.caption, embedding=self.embedding)

    def captions(self) -> list[str]:
        """Return the captions, for modules that require them.

        Raises:
            UserError: Captions were not read.
        """
        if self.caption is None:
            raise UserError(
                f"sample `{self.key[0]}` has no caption, but this stage trains on image-text pairs: pack images with "
                "captions, and leave the data module's `captioned` true."
            )
        return self.caption


@dataclass(frozen=True)
class ClipBatch(_Batch):
    """A batch of unlabeled clips.

    Attributes:
        pixels: Shape (B, 3, T, H, W), float in [-1, 1].
        fps: Frame rate of each clip in frames per second, shape (B,), float.
        key: Names of the B samples.
        embedding: CLIP image embeddings, shape (B, D). None if they are not cached.
        latent: Whether `pixels` are latents of an autoencoder, of any number of channels and any range.
    """

    pixels: Tensor
    fps: Tensor
    key: list[str]
    embedding: Tensor | None = None
    latent: bool = False

    def __post_init__(self) -> None:
        """Check shapes, types, range and lengths.

        Raises:
            ValueError: One of them is wrong.
        """
        self._check("B3THW")
        if self.fps.ndim != 1 or not self.fps.is_floating_point():
            got = f"{self.fps.dtype} of shape {tuple(self.fps.shape)}"
            raise ValueError(f"ClipBatch: `fps` must be float of shape (B,), got {got}; give one rate for each clip.")
        self._check_lengths(key=self.key, fps=self.fps, embedding=self.embedding)


@dataclass(frozen=True)
class JointBatch:
    """Clips and still images of one training step.

    Attributes:
        clips: Batch of clips.
        images: Batch of still images.
    """

    clips: ClipBatch
    images: ImageBatch

    def __len__(self) -> int:
        """Return the number of samples of both kinds."""
        return len(self.clips) + len(self.images)

    @property
    def fps(self) -> Tensor:
        """Frame rates of the clips, shape (B,)."""
        return self.clips.fps

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch with every tensor on `device`."""
        return type(self)(self.clips.to(device, non_blocking), self.images.to(device, non_blocking))
