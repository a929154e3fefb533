"""Limits on media, checked before decoding: 100 kB of H.264 can hold 20 GB of frames."""

import time
from dataclasses import dataclass

from mav_lightning.common.errors import UserError

__all__ = ["DEFAULT_LIMITS", "Deadline", "MediaError", "MediaLimits"]


class MediaError(UserError):
    """A video, image or folder of frames that is unreadable, damaged or exceeds a limit."""


@dataclass(frozen=True)
class MediaLimits:
    """Limits on one video or image. Everything that reads media has the same ones.

    Attributes:
        pixels: Largest width × height of a frame or image, stored and displayed.
        frames: Largest number of frames.
        bytes: Largest file size.
        decoded_bytes: Largest size of the frames that one call returns together.
        seconds: Longest time to open a file and read from it, plus a tenth of a second for each frame that is returned.
            It is checked whenever FFmpeg asks for bytes and between packets and frames, so a demuxer that hangs is
            stopped; a single frame is decoded to its end.
    """

    pixels: int = 1 << 26
    frames: int = 100_000
    bytes: int = 2 << 30
    decoded_bytes: int = 2 << 30
    seconds: float = 300.0

    def check_file(self, name: str, size: int) -> None:
        """Raise a `MediaError` if a file is too large."""
        if size > self.bytes:
            raise MediaError(f"{name}: {size} bytes, more than the limit of {self.bytes}; cut it into shorter files.")

    def check_size(self, name: str, width: int, height: int) -> None:
        """Raise a `MediaError` if frames are too large or empty."""
        if width < 1 or height < 1:
            raise MediaError(f"{name}: frames of {width}x{height} pixels; re-encode or remove the file.")
        if width * height > self.pixels:
            raise MediaError(f"{name}: {width}x{height} pixels, more than the limit of {self.pixels}; scale it down.")

    def check_frames(self, name: str, frames: int) -> None:
        """Raise a `MediaError` if there are too many frames."""
        if frames > self.frames:
            raise MediaError(f"{name}: more than {self.frames} frames; cut it into shorter files.")

    def check_decoded(self, name: str, frames: int, width: int, height: int) -> None:
        """Raise a `MediaError` if frames would take too much memory together."""
        if (size := 3 * frames * width * height) > self.decoded_bytes:
            raise MediaError(
                f"{name}: {frames} frames of {width}x{height} are {size} bytes decoded, more than the limit of "
                f"{self.decoded_bytes}; cut it into shorter files or scale it down."
            )


DEFAULT_LIMITS = MediaLimits()
_PER_FRAME = 0.1  # seconds


class Deadline:
    """A point in time after which reading stops.

    Args:
        name: Name of the file, for the message.
        seconds: Seconds from now.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds, self._end = name, seconds, time.monotonic() + seconds

    def extend(self) -> None:
        """Add the time that one more frame may take."""
        self._end += _PER_FRAME

    def check(self) -> None:
        """Raise a `MediaError` if the time is over."""
        if time.monotonic() > self._end:
            raise MediaError(
                f"{self._name}: takes more than {self._seconds:g} s to read; re-encode it or cut it into shorter files."
            )
