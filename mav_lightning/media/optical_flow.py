"""Dense optical flow between adjacent frames in both directions, and where the two agree."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mav_lightning.media.working_size import SHORTEST_SIDE

__all__ = ["Flow", "consistent", "displacement", "flow_of", "flow_widths", "inside", "luminance", "warp"]

Frames = NDArray[np.uint8]
Field = NDArray[np.float32]
Pixel = TypeVar("Pixel", np.uint8, np.float32)


@dataclass(frozen=True)
class Flow:
    """Motion between the T - 1 pairs of adjacent frames, each field of shape (T - 1, H, W, 2), in pixels (x, y).

    Attributes:
        forward: From each pixel of a frame to its place in the next frame.
        backward: From each pixel of the next frame to its place in the frame before.
    """

    forward: Field
    backward: Field


def flow_of(frames: Frames) -> Flow:
    """Estimate dense flow by Dense Inverse Search on luminance.

    Global brightness changes are subtracted first, since smooth regions would seem to move with them.

    Displacements of up to 1/16 of the width are found with any texture, and of up to 1/8 with coarse texture. For
    objects that move further over a textured background, about half the displacement is found. OpenCV is set to one
    thread in this process: clips are processed in parallel, and results must not depend on the number of cores.

    References:
        Fast Optical Flow using Dense Inverse Search (Kroeger et al., 2016). https://arxiv.org/abs/1603.03590

    Args:
        frames: Frames, shape (T, H, W, 3), uint8, T ≥ 1, H and W at least `SHORTEST_SIDE`.

    Raises:
        ValueError: If frames are smaller.
    """
    if min(frames.shape[1:3]) < SHORTEST_SIDE:
        height, width = frames.shape[1:3]
        raise ValueError(f"flow needs frames of at least {SHORTEST_SIDE} pixels a side, got {width}x{height}.")
    cv2.setNumThreads(1)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    images = luminance(frames)
    fields = np.zeros((2, len(images) - 1, *frames.shape[1:3], 2), np.float32)
    for number, (this, following) in enumerate(zip(images[:-1], images[1:], strict=True)):
        evened = _as_bright_as(this, following)
        fields[0, number] = search.calc(this, evened, None)  # type: ignore[call-overload]
        fields[1, number] = search.calc(evened, this, None)  # type: ignore[call-overload]
    return Flow(*fields)


def displacement(flow: Flow) -> float:
    """Compute the mean length of the flow over all pixels and pairs of frames, in frame widths per frame.

    It grows in proportion to the time between frames. On backgrounds without texture, flow spreads from moving objects
    into the background, so small objects count for more than their area.
    """
    return float(flow_widths(flow).mean())


def flow_widths(flow: Flow) -> NDArray[np.float32]:
    """Compute the length of the forward flow in frame widths: shape (T - 1, H, W)."""
    lengths: NDArray[np.float32] = np.linalg.norm(flow.forward, axis=-1) / flow.forward.shape[2]
    return lengths


def luminance(frames: Frames) -> Frames:
    """Convert frames to luminance: (T, H, W, 3) → (T, H, W), uint8."""
    images = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack(images).astype(np.uint8, copy=False)


def warp(images: NDArray[Pixel], flow: Field) -> NDArray[Pixel]:
    """Warp images by a flow: pixel p of the result is the image at p + flow(p), bilinearly interpolated.

    Outside the image its border pixels are repeated; `inside` marks the pixels that need none.

    Args:
        images: Images, shape (N, H, W) or (N, H, W, C), uint8 or float32. The result has the same dtype.
        flow: Flow, shape (N, H, W, 2), in pixels.
    """
    pulled = [
        cv2.remap(image, *_places(field), interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image, field in zip(images, flow, strict=True)
    ]
    return np.stack(pulled).astype(images.dtype, copy=False)


def inside(flow: Field) -> NDArray[np.bool_]:
    """Mark where a flow of shape (N, H, W, 2) stays inside the frame: shape (N, H, W)."""
    height, width = flow.shape[1:3]
    x, y = np.moveaxis(flow + _grid(height, width), -1, 0)
    within: NDArray[np.bool_] = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return within


def consistent(flow: Field, back: Field) -> NDArray[np.bool_]:
    """Mark pixels that pass the forward-backward consistency check.

    Other pixels are occluded in one of the frames, have left it, or were not matched.

    References:
        Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow (Sundaram et al., 2010).

    Args:
        flow: Flow, shape (N, H, W, 2), in pixels.
        back: Flow in the opposite direction, shape (N, H, W, 2), in pixels.

    Returns:
        Mask, shape (N, H, W). Pixels whose flow leaves the frame are not consistent.
    """
    returned = warp(back, flow)
    gap, length = np.square(flow + returned).sum(-1), np.square(flow).sum(-1) + np.square(returned).sum(-1)
    agrees: NDArray[np.bool_] = inside(flow) & (gap < 0.01 * length + 0.5)
    return agrees


def _as_bright_as(this: Frames, following: Frames) -> Frames:
    gain = np.median(following.astype(np.int16) - this)  # the median, so that moving objects do not count
    evened: Frames = np.clip(np.rint(following - gain), 0, 255).astype(np.uint8)
    return evened


def _grid(height: int, width: int) -> Field:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _places(field: Field) -> tuple[Field, Field]:
    x, y = np.moveaxis(field + _grid(*field.shape[:2]), -1, 0)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
