"""Properties of encoded videos and images."""

from collections.abc import Iterable
from dataclasses import dataclass

from mav_lightning.media.limits import DEFAULT_LIMITS
from mav_lightning.media.media_reader import probe
from mav_lightning.media.pictures import open_picture
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["Media", "find_media", "probe_media"]


@dataclass(frozen=True)
class Media:
    """Properties of a video or image.

    Attributes:
        width: Width in pixels, as displayed.
        height: Height in pixels, as displayed.
        frames: Number of frames that are presented; 1 for an image.
        fps: Frame rate in frames per second; the mean of a variable one. None for an image.
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
    """Return the suffix of a sample's video or, without one, of its image.

    Args:
        suffixes: Suffixes of the sample's members.
        kinds: Suffixes to look for, in order of preference.

    Returns:
        The suffix. None if there is none of these kinds.
    """
    present = set(suffixes)
    return next((suffix for suffix in kinds if suffix in present), None)


def probe_media(suffix: str, data: bytes) -> Media:
    """Read the header of an image, or the packets and the first frame of a video.

    Raises:
        MediaError: The data is unreadable, empty, or exceeds a limit.
    """
    if suffix in IMAGE_SUFFIXES:
        with open_picture(data, DEFAULT_LIMITS) as image:
            return Media(*image.size)
    info = probe(data)
    return Media(info.width, info.height, info.frames, info.fps)
