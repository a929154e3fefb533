"""What is known clip by clip where the content is known."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.cuts import Cut
from evaluation.extractors.shapes import APPEARANCE, ShapesImage
from evaluation.ground_truth.verdict import Verdict, judge
from mav_lightning.common.shapes_world.scene import HELD_OUT_PAIRS

__all__ = ["KnownClips"]

_RIGHT_FRAMES = 0.75  # of a clip whose appearance is right
_TOLD = ("colour", "shape")


class KnownClips:
    """Columns over the N clips whose attributes name a colour and a shape of Shapes World; each of shape (N,).

    Args:
        cuts: All clips.
        tracks: Of each, as `evaluation.extractors.tracks.Tracks` gives them, (clips, T, 3).
        looks: Features of each, as `network` gives them, (clips, T, d).
        network: Tells colours and shapes.

    Attributes:
        ids: Of the clips.
        fps: Frames per second.
        held_out: Whether colour and shape never meet in a training clip.
        appearance: Whether colour and shape are both right in at least three quarters of the frames.
        flicker: Change that motion does not explain, in grey levels.
        arc: Mean step of the centre from frame to frame, in widths; NaN where a frame shows no object.
    """

    def __init__(
        self, cuts: Sequence[Cut], tracks: NDArray[np.floating], looks: NDArray[np.floating], network: ShapesImage
    ) -> None:
        rows = [row for row, cut in enumerate(cuts) if _told(cut)]
        known = [cuts[row] for row in rows]
        facts = [cut.source.attributes for cut in known]
        self.ids = [cut.id for cut in known]
        self.fps = np.array([cut.fps for cut in known])
        self.held_out = np.array([(own["colour"], own["shape"]) in HELD_OUT_PAIRS for own in facts], dtype=bool)
        self.appearance = _right(looks[rows], facts, network) >= _RIGHT_FRAMES
        self.flicker = tracks[rows, 0, 2].astype(np.float64)
        self._shapes, self._tracks = [own["shape"] for own in facts], tracks[rows, :, :2].astype(np.float64)
        self.arc = np.linalg.norm(np.diff(self._tracks, axis=1), axis=2).mean(axis=1)

    @cached_property
    def verdict(self) -> Verdict:
        """Of the motion."""
        return judge(self._tracks, self.fps, self._shapes)

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


def _told(cut: Cut) -> bool:
    return all(cut.source.attributes.get(key) in APPEARANCE[key] for key in _TOLD)


def _right(looks: NDArray[np.floating], facts: Sequence[dict[str, str]], network: ShapesImage) -> NDArray[np.float64]:
    """Share of each clip's frames that show what was asked for."""
    frames = torch.from_numpy(looks).flatten(0, 1)
    with torch.no_grad():
        logits = network.classify(frames)
    right = np.ones(looks.shape[:2], bool)
    for key in _TOLD:
        wanted = np.array([APPEARANCE[key].index(own[key]) for own in facts], dtype=int)
        right &= logits[key].argmax(dim=1).numpy().reshape(right.shape) == wanted[:, None]
    return right.mean(axis=1)
