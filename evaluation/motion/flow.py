"""Dense optical flow between neighbouring frames, both ways, and where the two ways agree."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.clip_sources import Frames
from evaluation.motion.working_size import SHORTEST_SIDE

__all__ = ["Flow", "consistent", "flow_of", "grey", "inside", "warp"]

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Flow:
    """Motion between the T - 1 pairs of neighbouring frames, each field of shape (T - 1, H, W, 2), in pixels (x, y).

    Attributes:
        forward: From each pixel of a frame to its place in the next frame.
        backward: From each pixel of the next frame to its place in the frame before.
    """

    forward: Field
    backward: Field


def flow_of(frames: Frames) -> Flow:
    """Finds dense flow by Dense Inverse Search, on luminance.

    What the whole frame gains or loses in brightness is taken off first: smooth parts would seem to move with it.

    Steps of up to a sixteenth of the width are found whatever the texture, twice as long ones only where it is coarse;
    of an object that goes further over a textured ground, about half the step is found. One thread computes it, and
    this process keeps OpenCV at one: workers are parallel by clips, and no result may depend on the number of cores.

    References:
        Fast Optical Flow using Dense Inverse Search (Kroeger et al., 2016). https://arxiv.org/abs/1603.03590

    Args:
        frames: Shape (T, H, W, 3), uint8, T ≥ 1, H and W at least `SHORTEST_SIDE`.

    Raises:
        ValueError: Smaller frames.
    """
    if min(frames.shape[1:3]) < SHORTEST_SIDE:
        height, width = frames.shape[1:3]
        raise ValueError(f"flow needs frames of at least {SHORTEST_SIDE} pixels a side, got {width}x{height}.")
    cv2.setNumThreads(1)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    images = grey(frames)
    fields = np.zeros((2, len(images) - 1, *frames.shape[1:3], 2), np.float32)
    for number, (this, following) in enumerate(zip(images[:-1], images[1:], strict=True)):
        evened = _as_bright_as(this, following)
        fields[0, number] = search.calc(this, evened, None)  # type: ignore[call-overload]
        fields[1, number] = search.calc(evened, this, None)  # type: ignore[call-overload]
    return Flow(*fields)


def grey(frames: Frames) -> Frames:
    """Luminance: (T, H, W, 3) → (T, H, W), uint8."""
    images = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack(images).astype(np.uint8, copy=False)


def warp(images: NDArray, flow: Field) -> NDArray:
    """Pulls images along a flow: pixel p of the result is the image at p + flow(p), bilinear.

    Outside the image its edge goes on; `inside` tells where.

    Args:
        images: Shape (N, H, W) or (N, H, W, C), uint8 or float32; kept.
        flow: Shape (N, H, W, 2), in pixels.
    """
    pulled = [
        cv2.remap(image, *_places(field), interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image, field in zip(images, flow, strict=True)
    ]
    return np.stack(pulled)


def inside(flow: Field) -> NDArray[np.bool_]:
    """Where flow (N, H, W, 2) does not point out of the frame: shape (N, H, W)."""
    height, width = flow.shape[1:3]
    x, y = np.moveaxis(flow + _grid(height, width), -1, 0)
    return (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)


def consistent(flow: Field, back: Field) -> NDArray[np.bool_]:
    """Where going along a flow and coming back along the opposite one ends near the start.

    Elsewhere something is hidden in one of the frames, has left it, or was not found again.

    References:
        Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow (Sundaram et al., 2010).

    Args:
        flow: Shape (N, H, W, 2), in pixels.
        back: Of the opposite direction, same shape.

    Returns:
        Shape (N, H, W). Pixels whose flow leaves the frame are not consistent.
    """
    returned = warp(back, flow)
    gap, length = np.square(flow + returned).sum(-1), np.square(flow).sum(-1) + np.square(returned).sum(-1)
    return inside(flow) & (gap < 0.01 * length + 0.5)


def _as_bright_as(this: Frames, following: Frames) -> Frames:
    gain = np.median(following.astype(np.int16) - this)  # the median, so that what moves does not count
    return np.clip(np.rint(following - gain), 0, 255).astype(np.uint8)


def _grid(height: int, width: int) -> Field:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _places(field: Field) -> tuple[Field, Field]:
    x, y = np.moveaxis(field + _grid(*field.shape[:2]), -1, 0)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
