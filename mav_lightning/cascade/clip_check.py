"""Check of generated clips for jumps: steps from frame to frame that are much larger than the clip's other steps."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.cascade.clip_requests import (
    AnimateRequest,
    ClipRequest,
    Clips,
    ExtrapolateRequest,
    MorphRequest,
)
from mav_lightning.cascade.network_calls import Until
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.step_count import frame_count

__all__ = [
    "LARGEST_CHANGE",
    "LARGEST_JUMP",
    "ClipWarning",
    "Jump",
    "color_change",
    "describe_jump",
    "find_jumps",
    "jump_sizes",
    "last_given",
]

# Of 74 clips and loops of the pretrained cascade, the nine whose object leaps by an eighth of the frame or more have
# jumps of 3.0 to 5.9; the others reach 2.5, and real clips of Shapes World 1.6. See docs/results/tiny.md.
LARGEST_JUMP = 2.75
# Of 40 animated stills like the training frames, 39 change by at most 1.9 (one by 2.3); of six with a larger object all
# change by 4.5 or more, of eight with a smaller one five by more than 2, of five without an object all by 38 or more.
LARGEST_CHANGE = 2.0
_LEAST_CHANGE = 0.5  # gray levels
_NEIGHBORS = 3  # steps on either side
_LEAST_STEP = 1.0  # gray levels: the noise of a still picture is no motion to compare with


class ClipWarning(UserWarning):
    """Warning that a generated clip is probably not what was requested."""


@dataclass(frozen=True)
class Jump:
    """A step between two frames that is much larger than usual in its clip.

    Attributes:
        frame: Number of the frame before the step, from 0. The last frame of a loop is followed by frame 0.
        size: Size of the step, in multiples of the usual step.
    """

    frame: int
    size: float


def jump_sizes(frames: Clips, loop: bool = False) -> NDArray[np.float64]:
    """Measure every step between neighboring frames as a multiple of the clip's usual step.

    A step's size is the mean absolute difference of the pixels. The usual step is the median of the clip, or of the
    three steps on either side if that is larger, so that fast motion in a slow clip is not a jump.

    Args:
        frames: Clip, shape (T, H, W, 3), uint8.
        loop: Whether the step from the last frame to the first counts.

    Returns:
        Sizes, shape (T - 1,), or (T,) for a loop.
    """
    following = np.roll(frames, -1, axis=0) if loop else frames[1:]
    pairs = zip(frames[: len(following)].astype(np.int16), following.astype(np.int16), strict=True)
    steps = np.array([np.abs(after - before).mean() for before, after in pairs])
    if not len(steps):
        return steps
    offsets = np.array([shift for shift in range(-_NEIGHBORS, _NEIGHBORS + 1) if shift])
    around = np.arange(len(steps))[:, None] + offsets
    padded = np.append(steps, np.nan)  # beyond the ends of a clip there is no step
    inside = (around >= 0) & (around < len(steps))
    neighbors = padded[around % len(steps) if loop else np.where(inside, around, -1)]
    local = np.nanmedian(neighbors, axis=1) if len(steps) > 1 else np.zeros(1)
    sizes: NDArray[np.float64] = steps / np.maximum(np.maximum(local, np.median(steps)), _LEAST_STEP)
    return sizes


def color_change(frames: Clips) -> float:
    """Measure how far the first frame's colors are from the second's, as a multiple of the clip's usual change.

    Pixels are compared in the order of their values, so motion alone changes nothing, but an object of another size or
    shape does. A clip of fewer than three frames has no usual change, and the measure is 0.

    Args:
        frames: Clip, shape (T, H, W, 3), uint8.
    """
    ordered = np.sort(frames.reshape(len(frames), -1, 3), axis=1).astype(np.int16)
    changes = [np.abs(after - before).mean() for before, after in itertools.pairwise(ordered)]
    return float(changes[0] / max(np.median(changes[1:]), _LEAST_CHANGE)) if len(changes) > 1 else 0.0


def find_jumps(frames: Clips, loop: bool = False, given: int | None = None) -> list[Jump]:
    """Return the jumps of a clip, for example objects that vanish and reappear elsewhere, or the seam of a loop.

    Args:
        frames: Clip, shape (T, H, W, 3), uint8.
        loop: Whether the step from the last frame to the first counts.
        given: Number of the last given frame that the clip goes on from, whose colors are compared with the next
            frame's. None if there is none.
    """
    sizes = jump_sizes(frames, loop)
    found = {int(frame): float(sizes[frame]) for frame in np.flatnonzero(sizes > LARGEST_JUMP)}
    if given is not None and (change := color_change(frames[given:])) > LARGEST_CHANGE:
        found.setdefault(given, change)
    return [Jump(frame, size) for frame, size in sorted(found.items())]


def last_given(request: ClipRequest) -> int | None:
    """Return the number of the given frame after which a request's clip continues, or None if there is none."""
    return len(request.frames) - 1 if isinstance(request, AnimateRequest | ExtrapolateRequest) else None


def describe_jump(name: str, jump: Jump, request: ClipRequest, sampling: Sampling, until: Until = "sr_high") -> str:
    """Describe a jump for the user: the clip, the frames, the likely cause and a remedy.

    Args:
        name: Name of the clip.
        jump: The jump.
        request: The clip's request.
        sampling: Settings of the pipeline.
        until: Last network that ran.
    """
    frames = frame_count(request, sampling, until)
    pair = f"{jump.frame + 1} and {(jump.frame + 1) % frames + 1}"
    return (
        f"clip {name} (seed {request.seed}, {request.fps:g} fps) jumps between frames {pair}, {jump.size:.1f} times "
        f"its usual step: {_way_out(jump, request, frames - sampling.frames + 1)}."
    )


def _way_out(jump: Jump, request: ClipRequest, way_back: int) -> str:
    """Return the likely cause of a jump; in a loop, frames lead back to the first one from number `way_back` on."""
    if request.loop and jump.frame >= way_back:
        return "there is no smooth way back to the first frame; try another seed"
    if jump.frame == last_given(request) or isinstance(request, AnimateRequest | MorphRequest):
        return "the given frames may be unlike those the networks were trained on; try another seed, or other frames"
    return "try another seed or a higher frame rate"
