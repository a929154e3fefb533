"""Check of generated clips for jumps: steps from frame to frame that are much larger than the clip's other steps."""

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

__all__ = ["LARGEST_JUMP", "ClipWarning", "Jump", "describe_jump", "find_jumps", "jump_sizes"]

# Of clips of the pretrained cascade, those whose object leaps further than its own radius have jumps of 3.2 and more,
# all others at most 2.1, and real clips of Shapes World at most 2.0; see docs/results/tiny.md.
LARGEST_JUMP = 2.5
_NEIGHBORS = 3  # steps on either side
_LEAST_STEP = 1.0  # gray levels: the noise of a still picture is no motion to compare with


class ClipWarning(UserWarning):
    """A generated clip is probably not what was requested."""


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


def find_jumps(frames: Clips, loop: bool = False) -> list[Jump]:
    """Return the jumps of a clip, for example objects that vanish and reappear elsewhere, or the seam of a loop.

    Args:
        frames: Clip, shape (T, H, W, 3), uint8.
        loop: Whether the step from the last frame to the first counts.
    """
    sizes = jump_sizes(frames, loop)
    return [Jump(int(frame), float(sizes[frame])) for frame in np.flatnonzero(sizes > LARGEST_JUMP)]


def describe_jump(name: str, jump: Jump, request: ClipRequest, sampling: Sampling, until: Until = "sr_high") -> str:
    """Describe a jump for the user: the clip, the frames, the likely cause and the way out.

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
    if isinstance(request, AnimateRequest | MorphRequest) or (
        isinstance(request, ExtrapolateRequest) and jump.frame == len(request.frames) - 1
    ):
        return "the given frames may be unlike those the networks were trained on; try another seed, or other frames"
    return "try another seed or a higher frame rate"
