"""Shots of a film: where it is cut, how much each shot moves, and each as a clip of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.optional_import import optional_module
from mav_lightning.common.video_encoding import encode_mp4_stream
from mav_lightning.media.media_reader import FrameSource
from mav_lightning.media.optical_flow import displacement, flow_of
from mav_lightning.media.working_size import at_working_size

__all__ = ["SHORTEST", "Shot", "check_cutting", "encode_shot", "find_shots", "motion_of_shot"]

SHORTEST = 0.5  # seconds; shorter shots hold no motion worth learning, and flashes and mistakes are as short
_PAIRS = 8  # pairs of frames in which motion is measured
_GAP = 1 / 8  # second between the frames of a pair: slow motion is then well above the noise of codecs


@dataclass(frozen=True)
class Shot:
    """A part of a film without a cut.

    Attributes:
        first: Number of its first frame.
        last: Number of its last frame.
        start: Seconds from the film's first frame to `first`.
        end: Seconds from the film's first frame to `last`.
    """

    first: int
    last: int
    start: float
    end: float

    @property
    def span(self) -> float:
        """Seconds from its first frame to its last."""
        return self.end - self.start


def find_shots(video: FrameSource, cut: bool = True) -> list[Shot]:
    """Return the shots of a film, in order: the frames of all shots are the frames of the film.

    Cuts are found by PySceneDetect's ``AdaptiveDetector`` with its default thresholds, on frames at the working size of
    optical flow. After a cut, the next one is at least `SHORTEST` seconds later.

    Args:
        video: The film.
        cut: If False, the whole film is returned as one shot.

    Raises:
        UserError: PySceneDetect is not installed, or a frame cannot be decoded.
    """
    starts = [0, *(_cuts(video) if cut else ()), len(video.timeline)]
    times = video.timeline.times
    return [
        Shot(first, after - 1, float(times[first]), float(times[after - 1]))
        for first, after in zip(starts[:-1], starts[1:], strict=True)
    ]


def motion_of_shot(video: FrameSource, shot: Shot) -> float:
    """Measure the motion of a shot: mean length of the optical flow over all pixels, in frame widths per second.

    The flow is measured in 8 pairs of frames, evenly spread over the shot, an eighth of a second apart or, at lower
    frame rates, one frame. Motion of the camera counts like that of objects. A shot of one frame has no motion.

    Raises:
        UserError: A frame cannot be decoded.
    """
    times = video.timeline.times
    begins = shot.start + (np.arange(_PAIRS) + 0.5) / _PAIRS * max(shot.span - _GAP, 0)
    before = np.minimum(video.timeline.at(begins), shot.last - 1)
    after = np.clip(video.timeline.at(begins + _GAP), before + 1, shot.last)
    if shot.first == shot.last:
        return 0.0
    wanted = np.unique(np.concatenate([before, after])).tolist()
    frames = dict(zip(wanted, video.frames(wanted), strict=True))
    speeds = []
    for one, other in zip(before.tolist(), after.tolist(), strict=True):
        if (seconds := float(times[other] - times[one])) > 0:
            pair = at_working_size(np.stack([frames[one], frames[other]]))
            speeds.append(displacement(flow_of(pair)) / seconds)
    return float(np.mean(speeds)) if speeds else 0.0


def encode_shot(video: FrameSource, shot: Shot) -> bytes:
    """Encode a shot as a clip of its own, H.264 in MP4 at an even frame rate: the film's, or its mean.

    An odd row or column at the edge is left out, as the format needs even sides.

    Raises:
        UserError: A frame cannot be decoded.
    """
    fps = video.timeline.fps
    seconds = shot.start + np.arange(int(shot.span * fps + 0.5) + 1) / fps
    numbers = np.clip(video.timeline.at(seconds), shot.first, shot.last).tolist()
    width, height = (side // 2 * 2 for side in video.size)
    frames = (frame[:height, :width] for frame in video.frames(numbers))
    return encode_mp4_stream(frames, (height, width), fps)


def check_cutting() -> None:
    """Raise a `UserError` if PySceneDetect is not installed."""
    _scenedetect()


def _cuts(video: FrameSource) -> list[int]:
    """Return the numbers of the frames that begin a new shot, without the first."""
    detectors, timecode = _scenedetect()
    fps = Fraction(video.timeline.fps).limit_denominator(1001)
    detector = detectors.AdaptiveDetector(min_scene_len=max(int(SHORTEST * fps), 1))
    found = []
    for number, frame in enumerate(_small_frames(video)):
        found += detector.process_frame(timecode(number, fps), np.ascontiguousarray(frame[..., ::-1]))  # BGR
    found += detector.post_process(timecode(len(video.timeline), fps))
    return sorted({cut.frame_num for cut in found} - {0})


def _small_frames(video: FrameSource) -> Iterator[NDArray[np.uint8]]:
    for frame in video.frames(range(len(video.timeline))):
        yield at_working_size(frame[None])[0]


def _scenedetect() -> tuple[Any, Any]:
    library = optional_module("scenedetect", "scenes")
    return library.detectors, library.FrameTimecode
