"""Properties of encoded videos and images, and decoding of images."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageOps

from mav_lightning.common.video import probe
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, SampleError

__all__ = ["Media", "decode_image", "find_media", "probe_media"]

MAX_IMAGE_PIXELS = 1 << 26  # checked on the header, since a small file can decode to gigabytes


@dataclass(frozen=True)
class Media:
    """Properties of a video or image, read without decoding it.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        frames: Number of frames; 1 for an image.
        fps: Frame rate in frames per second. None for an image.
    """

    width: int
    height: int
    frames: int = 1
    fps: float | None = None

    @property
    def span(self) -> float:
        """Seconds from the first frame to the last; 0 for an image."""
        return 0.0 if self.fps is None else (self.frames - 1) / self.fps


def find_media(suffixes: Iterable[str], kinds: Iterable[str] = (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)) -> str | None:
    """Return the suffix of a sample's video, or else of its image.

    Args:
        suffixes: Suffixes of the sample's members.
        kinds: Suffixes to look for, in order of preference.

    Returns:
        The suffix. None if there is none of these kinds.
    """
    present = set(suffixes)
    return next((suffix for suffix in kinds if suffix in present), None)


def probe_media(suffix: str, data: bytes) -> Media:
    """Read the header of an image or the packets of a video.

    Raises:
        UserError: The data is unreadable, empty, or exceeds a limit.
    """
    if suffix in IMAGE_SUFFIXES:
        return Media(*_open_image(data).size)
    info = probe(data)
    return Media(info.width, info.height, info.frames, info.fps)


def decode_image(data: bytes) -> Image.Image:
    """Decode an image to upright RGB on a white background.

    Raises:
        SampleError: The data is not a JPEG, PNG or WebP, is damaged, or exceeds 64 megapixels or 8 bits per channel.
    """
    image = _open_image(data)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright.convert("RGBA"))
        return upright.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise SampleError(f"cannot be decoded ({error}); replace or remove the image.") from error


def _open_image(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SampleError(f"not a readable JPEG, PNG or WebP ({error}); replace or remove the image.") from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise SampleError(f"{image.width}x{image.height} pixels, more than {MAX_IMAGE_PIXELS}; scale the image down.")
    if image.mode.startswith(("I", "F")):  # Pillow would clip every value above 255 to white
        raise SampleError(f"has pixels of more than 8 bits (mode {image.mode}); save the image with 8 bits a channel.")
    return image
