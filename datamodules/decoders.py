"""Decoding of samples to training examples, and collation to batches, for captioned images and for clips."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.fps_sampler import FpsSampler, truncate_fps
from datamodules.frame_cache import FrameCache, KeptFrames
from datamodules.media import Media, find_media
from datamodules.order import SampleContext
from mav_lightning.common.counting import counted
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import from_uint8
from mav_lightning.media.media_reader import open_media
from mav_lightning.media.pictures import decode_picture
from mav_lightning.media.timeline import Timeline
from mav_lightning.shards.sample_facts import read_caption, read_captions_of
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, SampleError

__all__ = ["Captions", "ClipDecoder", "Decoder", "DrawnCaptionDecoder", "Example", "ImageDecoder"]

B_co = TypeVar("B_co", covariant=True)
Captions: TypeAlias = Literal["first", "drawn"]


@dataclass(frozen=True)
class Example:
    """One decoded sample.

    Attributes:
        key: Name of the sample.
        frames: Shape (T, H, W, 3), uint8, or cached latents, shape (T, C, height, width), float16; T is 1 for an
            image.
        caption: Caption of the sample. None if it was not read.
        fps: Frames per second as cut; None for an image.
        embedding: CLIP image embedding, shape (D,). None if embeddings are not cached.
    """

    key: str
    frames: NDArray[np.uint8] | NDArray[np.float16]
    caption: str | None = None
    fps: float | None = None
    embedding: NDArray[np.float32] | None = None


class Decoder(Protocol[B_co]):
    """Base class of decoders, which turn the encoded files of one kind of sample into a batch.

    Attributes:
        suffixes: Suffixes of the members it reads.
    """

    suffixes: frozenset[str]

    def refusal(self, suffixes: Collection[str], media: Media | None) -> str | None:
        """Return why a sample cannot be used, or None if it can.

        Args:
            suffixes: Suffixes of its members; ``txt`` means a readable caption, whichever member holds it.
            media: Properties of its video or image. None if they must be read first.
        """

    def decode(
        self, key: str, members: Mapping[str, bytes], media: Media | None, context: SampleContext, cache: FrameCache
    ) -> Example:
        """Decode one sample.

        Args:
            key: Name of the sample.
            members: Content of the sample's files: suffix → bytes.
            media: Properties of its video or image. None if they must be read first.
            context: Source of randomness, and training progress.
            cache: Cache of decoded frames.

        Raises:
            UserError: The sample cannot be decoded.
        """

    def collate(self, examples: Sequence[Example]) -> B_co:
        """Collate examples to a batch."""


@dataclass(frozen=True)
class ImageDecoder:
    """Decoder of images with captions.

    Attributes:
        size: Side of the square crop in pixels.
        captioned: If True, an image without a text cannot be used. If False, no text is read.
    """

    size: int
    captioned: bool = True
    suffixes = frozenset((*IMAGE_SUFFIXES, "txt", "json"))

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            UserError: It is below 1.
        """
        _check_positive("size", self.size)

    def refusal(self, suffixes: Collection[str], media: Media | None) -> str | None:
        """Return why a sample cannot be used, or None; see `Decoder.refusal`."""
        if find_media(suffixes, IMAGE_SUFFIXES) is None:
            return f"holds no image (found {_listed(suffixes)})"
        if self.captioned and "txt" not in suffixes:
            return f"holds no caption (found {_listed(suffixes)})"
        return None

    def decode(
        self, key: str, members: Mapping[str, bytes], media: Media | None, context: SampleContext, cache: FrameCache
    ) -> Example:
        """Decode, crop and resize the image; only a subclass's choice of a caption is random."""
        caption = self._caption(members, context) if self.captioned else None
        held = [*(members.keys() - {"txt"}), *(() if caption is None else ("txt",))]
        data = members[_require(self.refusal(held, media), find_media(members, IMAGE_SUFFIXES))]

        def square() -> KeptFrames:
            return KeptFrames(crop_to_square(decode_picture(data), self.size)[None])

        kept = cache.find(key) or cache.keep(key, 3 * self.size**2, square) or square()
        return Example(key, kept.frames, caption)

    def _caption(self, members: Mapping[str, bytes], context: SampleContext) -> str | None:
        return read_caption(members)

    def collate(self, examples: Sequence[Example]) -> ImageBatch:
        """Collate examples to a batch of pixels (B, 3, size, size)."""
        captions = [example.caption for example in examples if example.caption is not None]
        keys = [example.key for example in examples]
        pixels, latent = _frames(examples)
        captions_read = captions if self.captioned else None
        return ImageBatch(pixels.squeeze(2), captions_read, keys, _embeddings(examples), latent)


class DrawnCaptionDecoder(ImageDecoder):
    """Decoder of images that samples one of several captions in each pass; see `read_captions_of`."""

    def _caption(self, members: Mapping[str, bytes], context: SampleContext) -> str | None:
        captions = read_captions_of(members)
        return captions[context.rng.integers(len(captions))] if captions else None


@dataclass(frozen=True)
class ClipDecoder:
    """Decoder of clips cut from videos: frames at ``t0 + i / fps`` with random start and frame rate.

    Attributes:
        size: Side of the square crop in pixels.
        frames: Frames T per clip.
        fps: Samples the frame rate, which is clamped to what the video provides; see `truncate_fps`.
    """

    size: int
    frames: int
    fps: FpsSampler
    suffixes = frozenset(VIDEO_SUFFIXES)

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            UserError: One of them is below 1.
        """
        _check_positive("size", self.size)
        _check_positive("frames", self.frames)

    def refusal(self, suffixes: Collection[str], media: Media | None) -> str | None:
        """Return why a sample cannot be used, or None; see `Decoder.refusal`."""
        if find_media(suffixes, VIDEO_SUFFIXES) is None:
            return f"holds no video (found {_listed(suffixes)})"
        return None if media is None else self._too_short(media.frames)

    def decode(
        self, key: str, members: Mapping[str, bytes], media: Media | None, context: SampleContext, cache: FrameCache
    ) -> Example:
        """Sample frame rate and start, and decode only the frames needed unless the whole video fits in the cache."""
        suffix = _require(self.refusal(members, media), find_media(members, VIDEO_SUFFIXES))
        kept = cache.find(key)
        if kept is not None and kept.timeline is not None:
            fps, picked = self._cut(kept.timeline, context)
            return Example(key, kept.frames[picked], fps=fps)
        with open_media(members[suffix], is_verified=media is not None) as video:  # by the index
            frames = len(video.timeline)
            _require(self._too_short(frames), suffix)
            fps, picked = self._cut(video.timeline, context)

            def squares(numbers: Sequence[int]) -> NDArray[np.uint8]:
                return np.stack([crop_to_square(frame, self.size) for frame in video.frames(numbers)])

            kept = cache.keep(
                key, frames * 3 * self.size**2, lambda: KeptFrames(squares(range(frames)), video.timeline)
            )
            return Example(key, squares(picked.tolist()) if kept is None else kept.frames[picked], fps=fps)

    def _too_short(self, frames: int) -> str | None:
        return (
            f"has {counted(frames, 'frame')}, fewer than the {self.frames} of a clip" if frames < self.frames else None
        )

    def _cut(self, times: Timeline, context: SampleContext) -> tuple[float, NDArray[np.int_]]:
        """Sample the frame rate and start of a clip; return the rate and the numbers of the frames shown then."""
        fps = truncate_fps(self.fps.sample(context.rng, context.clips), self.frames, times.span, times.fps)
        start = context.rng.uniform(0.0, max(times.span - (self.frames - 1) / fps, 0.0))
        return fps, times.at(start + np.arange(self.frames) / fps)

    def collate(self, examples: Sequence[Example]) -> ClipBatch:
        """Collate examples to a batch of pixels (B, 3, T, size, size) with frame rates (B,)."""
        fps = torch.tensor([example.fps for example in examples], dtype=torch.float32)
        keys = [example.key for example in examples]
        pixels, latent = _frames(examples)
        return ClipBatch(pixels, fps, keys, _embeddings(examples), latent)


def _frames(examples: Sequence[Example]) -> tuple[Tensor, bool]:
    """Return pixels in [-1, 1] or latents, shape (B, C, T, H, W), and whether they are latents."""
    frames = np.stack([example.frames for example in examples])
    if frames.dtype == np.uint8:
        return from_uint8(frames.astype(np.uint8, copy=False)).contiguous(), False
    return torch.from_numpy(frames).float().transpose(1, 2).contiguous(), True


def _embeddings(examples: Sequence[Example]) -> Tensor | None:
    found = [example.embedding for example in examples if example.embedding is not None]
    return torch.from_numpy(np.stack(found)) if found else None


def _require(refusal: str | None, suffix: str | None) -> str:
    if refusal is not None or suffix is None:
        raise SampleError(f"{refusal}.")
    return suffix


def _listed(suffixes: Collection[str]) -> str:
    return ", ".join(sorted(suffixes)) or "nothing"


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{name}: must be 1 or more, got {value}; choose another.")
