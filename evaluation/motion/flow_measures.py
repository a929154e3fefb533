"""Measures of motion, and of changes that motion does not explain."""

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.clip_sources import Frames
from mav_lightning.media.optical_flow import Flow, consistent, flow_widths, inside, luminance, warp

__all__ = [
    "freeze_share",
    "loop_closure",
    "moving_displacement",
    "repeats",
    "temporal_consistency",
    "warped_flicker",
]

_FASTEST = 0.05  # fraction of the pixels that is taken for the moving part
_BLOCK = 8  # pixels, a sixteenth of the working size: averages out noise but not an object
_NEARLY = 2.0  # gray levels; of repeated frames of 240x320 pixels 98 % differ by less after H.264 at crf 23, 31 % at 38
_UNSEEN = 1.0  # gray level; a change too small to be seen
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # constants of SSIM for 8 bits


def moving_displacement(flow: Flow) -> float:
    """Compute the median flow length over the fastest 5 % of the pixels, averaged over pairs, in widths per frame.

    This is the speed of the moving objects if they cover at least 5 % of the frame. At 16 pixels, displacements of half
    a pixel or less are overestimated by a factor of up to 1.4.
    """
    fastest = np.quantile(flow_widths(flow).reshape(len(flow.forward), -1), 1 - _FASTEST / 2, axis=1)
    return float(fastest.mean())


def warped_flicker(frames: Frames, flow: Flow) -> tuple[float, float]:
    """Compute the warping error: mean absolute difference to the warped previous frame, where the flow is consistent.

    Report both values: if frames have little in common, few pixels are consistent, and these are similar by selection.

    References:
        Learning Blind Video Temporal Consistency (Lai et al., 2018), its warping error. https://arxiv.org/abs/1808.00449

    Args:
        frames: Frames, shape (T, H, W, 3), uint8.
        flow: Flow of these frames.

    Returns:
        The error in gray levels, NaN if no pixel is consistent; and the fraction of pixels compared, in [0, 1].
    """
    counted = consistent(flow.backward, flow.forward)
    expected = warp(frames[:-1], flow.backward)
    change = np.abs(frames[1:].astype(np.float32) - expected).mean(axis=-1)
    return float(change[counted].mean()) if counted.any() else float("nan"), float(counted.mean())


def temporal_consistency(frames: Frames, flow: Flow) -> float:
    """Compute the SSIM of each frame and the warped previous frame: 1 for stills, low for unrelated frames.

    SSIM is relative: a warping error in gray levels is small in every clip of low contrast. All pixels whose flow stays
    inside the frame count, consistent or not, since frames without anything in common must score badly. Pixels are
    weighted by information content; otherwise backgrounds without texture would dominate the mean.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004).
        Information Content Weighting for Perceptual Image Quality Assessment (Wang and Li, 2011), here with
        SSIM's own constant in place of the visual noise.

    Args:
        frames: Frames, shape (T, H, W, 3), uint8.
        flow: Flow of these frames.
    """
    images = luminance(frames)
    values = []
    for seen, expected, usable in zip(images[1:], warp(images[:-1], flow.backward), inside(flow.backward), strict=True):
        similarity, weight = _similarity(seen, expected)
        weight = np.where(usable, weight, 0.0)
        values.append((similarity * weight).sum() / weight.sum() if usable.any() else 0.0)
    return float(np.mean(values))


def _similarity(a: Frames, b: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the SSIM of two images (H, W) per pixel, and the weight of each pixel, above 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _local(x), _local(y)
    var_x, var_y = _local(x * x) - mean_x**2, _local(y * y) - mean_y**2
    brightness = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * (_local(x * y) - mean_x * mean_y) + _C2) / (var_x + var_y + _C2)
    weight = np.log1p(np.maximum(var_x, 0.0) / _C2) + np.log1p(np.maximum(var_y, 0.0) / _C2)
    return brightness * structure, weight + 1e-6  # a clip without any structure is weighted evenly


def _local(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the Gaussian window of SSIM, 11 pixels wide."""
    return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5))


def repeats(frames: Frames) -> NDArray[np.bool_]:
    """Mark frames that nearly repeat the previous one: shape (T - 1,).

    In a repeated frame, the mean color of every block (1/16 of the longer side) changes by less than two gray levels,
    averaged over R, G and B. Blocks average out noise and light compression but not the motion of a small object.
    Strong compression, and any compression of clips of 64 pixels or less, causes changes as large as slow motion.
    """
    height, width = frames.shape[1:3]
    blocks = round(width / _BLOCK), round(height / _BLOCK)
    changes = [
        cv2.resize(after - before, blocks, interpolation=cv2.INTER_AREA)
        for before, after in zip(frames[:-1].astype(np.float32), frames[1:].astype(np.float32), strict=True)
    ]
    return np.array([float(np.abs(change).mean(axis=-1).max()) < _NEARLY for change in changes], dtype=bool)


def freeze_share(frames: Frames) -> float:
    """Compute the fraction of frame transitions without visible change, in [0, 1].

    1 for stills, 0.5 if every frame is shown twice.
    """
    return float(repeats(frames).mean())


def loop_closure(frames: Frames) -> float:
    """Compare the transition from the last frame to the first with the others: 1 for a seamless loop.

    The mean absolute difference between last and first frame, divided by the median one between adjacent frames. One
    invisible gray level is added to both, so that stills score 1. Repeated frames are left out, unless all are. Frames
    in random order also score about 1. A value below 1 means that the last frame already repeats the first.

    Args:
        frames: Frames, shape (T, H, W, 3), uint8, T ≥ 3.
    """
    pixels = frames.astype(np.float32)
    steps = np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3))
    repeated = repeats(frames)
    usual = np.median(steps if repeated.all() else steps[~repeated])
    closing = np.abs(pixels[-1] - pixels[0]).mean()
    return float((closing + _UNSEEN) / (usual + _UNSEEN))
