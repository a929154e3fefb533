"""Images: JPEG, PNG and WebP, decoded as they are displayed."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from mav_lightning.media.container import Source, open_file, source_name
from mav_lightning.media.limits import DEFAULT_LIMITS, MediaError, MediaLimits

__all__ = [
    "as_displayed", "decode_picture", "displayed_size", "on_white", "open_picture", "open_with_pillow", "pillow_errors",
    "read_picture",
]  # fmt: skip

_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_QUARTER_TURN = 5


def decode_picture(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an image to RGB: upright as its EXIF data describe, transparent parts on white.

    Args:
        source: Encoded image or its file. Of an animation, the first frame is taken.
        limits: Limits checked before decoding.

    Raises:
        MediaError: The image is not a JPEG, PNG or WebP, is damaged, exceeds a limit, or has over 8 bits per channel.
    """
    with open_picture(source, limits) as image, pillow_errors(source_name(source)):
        return as_displayed(image)


def read_picture(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode an image to pixels, shape (H, W, 3), uint8; see `decode_picture`."""
    return np.asarray(decode_picture(source, limits))


@contextmanager
def open_picture(source: Source, limits: MediaLimits) -> Iterator[Image.Image]:
    """Open an image without decoding it.

    Raises:
        MediaError: The image is not a JPEG, PNG or WebP, exceeds a limit, or has more than 8 bits per channel.
    """
    with open_file(source, limits, pictures_only=True) as file:
        with open_with_pillow(file.file, file.format.library_name, file.name, limits) as image:
            yield image


@contextmanager
def open_with_pillow(file: BinaryIO, plugin: str, name: str, limits: MediaLimits) -> Iterator[Image.Image]:
    """Open an image with one plugin of Pillow, and check its size and kind of values."""
    try:
        image = Image.open(file, formats=(plugin,))
    except _DAMAGE as error:
        kinds = "JPEG, PNG or WebP" if plugin != "GIF" else plugin
        raise MediaError(f"{name}: not a readable {kinds} ({error}); replace or remove the image.") from error
    with image:
        limits.check_size(name, image.width, image.height)
        if image.mode.startswith(("I", "F")):  # Pillow would clip every value above 255 to white
            raise MediaError(
                f"{name}: has pixels of more than 8 bits (mode {image.mode}); save the image with 8 bits a channel."
            )
        yield image


@contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turn what Pillow raises for damaged files into a `MediaError` that names the file."""
    try:
        yield
    except _DAMAGE as error:
        raise MediaError(f"{name}: cannot be decoded ({error}); replace or remove the image.") from error


def as_displayed(image: Image.Image) -> Image.Image:
    """Decode an opened image to RGB, upright as its EXIF data describe, transparent parts on white."""
    image.load()
    turn = _TURNS.get(_exif_orientation(image))
    return on_white(image if turn is None else image.transpose(turn))


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image that is not decoded yet, as its EXIF data turn it."""
    return (image.height, image.width) if _exif_orientation(image) >= _FIRST_QUARTER_TURN else image.size


def _exif_orientation(image: Image.Image) -> int:
    """Return the orientation in EXIF or XMP data, from 1 to 8; 1 of data that are damaged or name another one."""
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and found in _TURNS else 1


def on_white(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, transparent parts on white."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")
