"""What is measured clip by clip where the content is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.clips import Clip
from evaluation.extractors.shapes import APPEARANCE, ShapesImage
from evaluation.ground_truth.flicker import flicker
from evaluation.ground_truth.tracking import track
from evaluation.ground_truth.verdict import Verdict, judge
from mav_lightning.common.shapes_world.scene import HELD_OUT_PAIRS

__all__ = ["KnownClip", "KnownClips", "measure"]

_RIGHT_FRAMES = 0.75  # of a clip whose appearance is right


@dataclass(frozen=True)
class KnownClip:
    """One clip whose colour and shape are known.

    Attributes:
        id: Of the clip.
        fps: Frames per second.
        colour: As captioned.
        shape: As captioned.
        track: Centres of the object, shape (T, 2), in widths; NaN where there is none.
        appearance: Whether colour and shape are both right in at least three quarters of the frames.
        flicker: Change that motion does not explain, in grey levels.
    """

    id: str
    fps: float
    colour: str
    shape: str
    track: NDArray[np.float64]
    appearance: bool
    flicker: float


def measure(clips: Sequence[Clip], network: ShapesImage) -> list[KnownClip]:
    """Measures those of the clips whose attributes name a colour and a shape of Shapes World."""
    known = [clip for clip in clips if all(clip.attributes.get(key) in APPEARANCE[key] for key in ("colour", "shape"))]
    if not known:
        return []
    pixels = np.stack([clip.pixels for clip in known])
    with torch.no_grad():
        frames = torch.from_numpy(pixels)
        logits = network.classify(network(frames.flatten(0, 1)))
    right = np.ones(pixels.shape[:2], bool)
    for key in ("colour", "shape"):
        wanted = np.array([APPEARANCE[key].index(clip.attributes[key]) for clip in known])
        right &= logits[key].argmax(dim=1).numpy().reshape(right.shape) == wanted[:, None]
    measured = zip(known, track(pixels), right.mean(axis=1) >= _RIGHT_FRAMES, strict=True)
    return [
        KnownClip(
            clip.id, clip.fps, clip.attributes["colour"], clip.attributes["shape"], centres, bool(appearance),
            flicker(clip.pixels, centres, clip.fps),
        )
        for clip, centres, appearance in measured
    ]  # fmt: skip


class KnownClips:
    """Columns over N known clips, each of shape (N,).

    Attributes:
        ids: Of the clips.
        fps: Frames per second.
        held_out: Whether colour and shape never meet in a training clip.
        appearance: As in `KnownClip`.
        flicker: As in `KnownClip`.
        arc: Mean step of the centre from frame to frame, in widths; NaN where a frame shows no object.
    """

    def __init__(self, clips: Sequence[KnownClip]) -> None:
        self.ids = [clip.id for clip in clips]
        self.fps = np.array([clip.fps for clip in clips])
        self.held_out = np.array([(clip.colour, clip.shape) in HELD_OUT_PAIRS for clip in clips], dtype=bool)
        self.appearance = np.array([clip.appearance for clip in clips], dtype=bool)
        self.flicker = np.array([clip.flicker for clip in clips])
        self._shapes = [clip.shape for clip in clips]
        self._tracks = np.array([clip.track for clip in clips])
        self.arc = np.array([np.linalg.norm(np.diff(clip.track, axis=0), axis=1).mean() for clip in clips])

    @cached_property
    def verdict(self) -> Verdict:
        """Of the motion."""
        return judge(self._tracks if self.ids else np.zeros((0, 2, 2)), self.fps, self._shapes)

    def arc_slope(self, rows: NDArray[np.intp]) -> float:
        """Log-log slope of the mean step against the seconds between frames, of some clips; NaN without two rates.

        Clips that play real time have nearly 1: steps grow with the time between frames, but rebounds cut corners.
        Clips that ignore the frame rate have 0.
        """
        rows = rows[np.isfinite(self.arc[rows])]
        rates = np.unique(self.fps[rows])
        steps = np.array([self.arc[rows][self.fps[rows] == rate].mean() for rate in rates])
        if len(rates) < 2 or not (steps > 0).all():
            return float("nan")
        return float(np.polyfit(-np.log(rates), np.log(steps), 1)[0])

    def per_clip(self) -> dict[str, dict[str, Any]]:
        """Id → what is known of the clip, as plain data; None where it is undefined."""
        verdict = self.verdict
        columns = {
            "fps": self.fps,
            "held_out": self.held_out,
            "appearance": self.appearance,
            "law": verdict.follows,
            "law_forced_choice": verdict.fits_best,
            "law_residual": verdict.residual,
            "law_unexplained": verdict.unexplained,
            "speed_ratio": verdict.speed,
            "flicker": self.flicker,
        }
        return {name: {key: column[row].item() for key, column in columns.items()} for row, name in enumerate(self.ids)}
