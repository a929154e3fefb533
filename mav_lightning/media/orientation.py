"""How stored frames are turned, mirrored and stretched for display."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

__all__ = ["UPRIGHT", "Orientation", "display_matrix", "displayed_width", "orientation_of"]

_SQUARE = 0.02  # pixel aspect ratios this close to 1 are not applied: resizing by a few pixels would only blur


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to place a frame along the axes.

    Attributes:
        swap: Whether rows and columns are exchanged, before the flips.
        flip_x: Whether left and right are exchanged.
        flip_y: Whether top and bottom are exchanged.
    """

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored frame, shape (H, W, 3), as it is displayed; a view where nothing changes."""
        if self == UPRIGHT:
            return frame
        frame = frame.swapaxes(0, 1) if self.swap else frame
        return np.ascontiguousarray(frame[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1])


UPRIGHT = Orientation()


def orientation_of(matrix: bytes) -> Orientation | None:
    """Return the orientation that a display matrix describes.

    Args:
        matrix: Nine signed 32-bit integers, ``(a, b, u, c, d, v, x, y, w)``: a point (x, y) is displayed at
            (a x + c y, b x + d y), moved into view.

    Returns:
        The orientation. None for a matrix that turns by another angle than a multiple of 90 degrees.
    """
    values = np.frombuffer(matrix, "=i4")
    if len(values) != 9:
        return None
    a, b, c, d = (int(values[place]) for place in (0, 1, 3, 4))
    if a == b == c == d == 0:  # some writers leave the matrix empty
        return UPRIGHT
    scale = max(abs(value) for value in (a, b, c, d))
    units = [round(value / scale) for value in (a, b, c, d)]
    if max(abs(value / scale - unit) for value, unit in zip((a, b, c, d), units, strict=True)) > _SQUARE:
        return None
    turns = {(True, False, False, True): (False, a < 0, d < 0), (False, True, True, False): (True, c < 0, b < 0)}
    found = turns.get((bool(units[0]), bool(units[1]), bool(units[2]), bool(units[3])))
    return None if found is None else Orientation(*found)


def display_matrix(frame: Any) -> bytes | None:
    """Return the display matrix of a decoded frame, for `orientation_of`. None if it has none."""
    found = frame.side_data.get("DISPLAYMATRIX")
    return None if found is None else bytes(found)


def _unnamed(kind: type[Type], value: int) -> Type:
    """Return a kind of data beside a frame that PyAV has no name for, where it would raise a ValueError.

    FFmpeg 8 adds EXIF data to the frames of cameras' MJPEG, and views to those of spatial videos.
    """
    member = object.__new__(kind)
    member._name_ = f"UNNAMED_{value}"
    member._value_ = value  # type: ignore[assignment]  # PyAV's stubs give the members no values
    return member


Type._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]


def displayed_width(width: int, pixel_aspect: Fraction | None) -> int:
    """Return the width at which a stored frame is displayed with its height kept.

    Args:
        width: Stored width in pixels.
        pixel_aspect: Width of a pixel divided by its height. None or 0 if it is not known.
    """
    if not pixel_aspect or abs(pixel_aspect - 1) <= _SQUARE:
        return width
    return max(round(width * pixel_aspect), 1)
