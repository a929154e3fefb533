"""Change from frame to frame that motion does not explain."""

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.object_tracking import object_weight
from mav_lightning.common.shapes_world.laws import LAWS, Law

__all__ = ["FASTEST", "flicker"]

_SLACK = 0.03  # widths that a center may be off by


def _fastest(law: Law) -> float:
    steps = np.diff(law.path(np.linspace(0.0, 1.0, 1001)), axis=0)
    return float(np.linalg.norm(steps, axis=1).max() * 1000.0 / law.period)


FASTEST = max(_fastest(law) for law in LAWS.values())  # widths per second; no object moves faster anywhere


def flicker(video: NDArray[np.uint8], track: NDArray[np.float64], fps: float) -> float:
    """Mean absolute change between adjacent frames, in gray levels, after taking out the object's motion.

    Away from the object, frames are compared pixel by pixel; near it, the mean color of the object is compared with
    its mean color in the next frame. Nothing is taken out between frames where no object can have moved that far, or
    where one of them shows none: an object that jumps about flickers.

    Args:
        video: One clip, shape (T, H, W, 3), uint8, T ≥ 2.
        track: Centers of the object, shape (T, 2), in frame widths; NaN in frames without an object.
        fps: Frames per second.
    """
    pixels, weight = video.astype(np.float64), object_weight(video).astype(np.float64)
    change = np.abs(np.diff(pixels, axis=0)).mean(axis=-1)
    near = weight > 0
    inside = weight**8  # the edge's color is a mixture, and depends on where between two pixels it falls
    with np.errstate(invalid="ignore"):
        colour = np.einsum("thw,thwc->tc", inside, pixels) / inside.sum(axis=(1, 2))[:, None]
        step = np.linalg.norm(np.diff(track, axis=0), axis=1)
        possible = step <= FASTEST / fps + _SLACK  # False for NaN
    of_object = np.abs(np.diff(colour, axis=0)).mean(axis=-1)
    taken_out = np.where(near[:-1] | near[1:], of_object[:, None, None], change)
    return float(np.where(possible[:, None, None], taken_out, change).mean())
