"""How much a clip moves, and what changes in it that motion does not explain."""

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.clip_sources import Frames
from evaluation.motion.flow import Flow, consistent, grey, inside, warp

__all__ = [
    "displacement",
    "freeze_share",
    "loop_closure",
    "moving_displacement",
    "repeats",
    "temporal_consistency",
    "warped_flicker",
]

_FASTEST = 0.05  # of the pixels: what is taken for the moving part
_BLOCK = 8  # pixels, a sixteenth of the working size: what averages out noise but not an object
_NEARLY = 2.0  # grey levels; of repeated frames of 240x320 pixels 98 % differ by less after H.264 at crf 23, 31 % at 38
_UNSEEN = 1.0  # grey level; a change too small to be seen
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # constants of SSIM for 8 bits


def displacement(flow: Flow) -> float:
    """Mean length of the flow over all pixels and pairs of frames, in frame widths per frame.

    It grows in proportion to the time between frames. Where a ground has no texture, flow spreads into it from what
    moves, so that small objects count for more than their area.
    """
    return float(_widths(flow).mean())


def moving_displacement(flow: Flow) -> float:
    """Median length of the flow over the fastest twentieth of the pixels, mean over pairs, in widths per frame.

    The speed of what moves, in clips where at least that much moves, whatever the rest does. At 16 pixels, steps of
    half a pixel or less are found up to 1.4 times as long, as an edge does not go evenly from one pixel to the next.
    """
    fastest = np.quantile(_widths(flow).reshape(len(flow.forward), -1), 1 - _FASTEST / 2, axis=1)
    return float(fastest.mean())


def _widths(flow: Flow) -> NDArray[np.float32]:
    return np.linalg.norm(flow.forward, axis=-1) / flow.forward.shape[2]


def warped_flicker(frames: Frames, flow: Flow) -> tuple[float, float]:
    """Mean absolute difference between a frame and the one before, warped to it, where the flow is consistent.

    The second value belongs to the first: where frames have little in common, little is compared, and what is compared
    was chosen for being alike.

    References:
        Learning Blind Video Temporal Consistency (Lai et al., 2018), its warping error. https://arxiv.org/abs/1808.00449

    Args:
        frames: Shape (T, H, W, 3), uint8.
        flow: Of these frames.

    Returns:
        Grey levels, NaN where nothing is consistent; and the share of pixels that were compared, in [0, 1].
    """
    counted = consistent(flow.backward, flow.forward)
    expected = warp(frames[:-1], flow.backward)
    change = np.abs(frames[1:].astype(np.float32) - expected).mean(axis=-1)
    return float(change[counted].mean()) if counted.any() else float("nan"), float(counted.mean())


def temporal_consistency(frames: Frames, flow: Flow) -> float:
    """Structural similarity of each frame to the one before, warped to it: 1 for stills, low for unrelated frames.

    Similarity, since it is a share: a warping error in grey levels is small in every clip of low contrast. Over all
    pixels whose flow stays inside the frame, consistent or not, since frames without anything in common must score
    badly. Pixels are weighted by information content, or grounds without texture, which are alike whatever
    happens before them, would hide all the rest.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004).
        Information Content Weighting for Perceptual Image Quality Assessment (Wang and Li, 2011), here with
        SSIM's own constant in place of the visual noise.

    Args:
        frames: Shape (T, H, W, 3), uint8.
        flow: Of these frames.
    """
    images = grey(frames)
    values = []
    for seen, expected, usable in zip(images[1:], warp(images[:-1], flow.backward), inside(flow.backward), strict=True):
        similarity, weight = _similarity(seen, expected)
        weight = np.where(usable, weight, 0.0)
        values.append((similarity * weight).sum() / weight.sum() if usable.any() else 0.0)
    return float(np.mean(values))


def _similarity(a: Frames, b: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SSIM of two images (H, W), pixel by pixel, and the weight of each pixel, above 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _local(x), _local(y)
    var_x, var_y = _local(x * x) - mean_x**2, _local(y * y) - mean_y**2
    brightness = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * (_local(x * y) - mean_x * mean_y) + _C2) / (var_x + var_y + _C2)
    weight = np.log1p(np.maximum(var_x, 0.0) / _C2) + np.log1p(np.maximum(var_y, 0.0) / _C2)
    return brightness * structure, weight + 1e-6  # a clip without any structure is weighted evenly


def _local(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over a Gaussian window of 11 pixels, as SSIM has it."""
    return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5))


def repeats(frames: Frames) -> NDArray[np.bool_]:
    """Which frames nearly repeat the one before: shape (T - 1,).

    No block of a sixteenth of the longer side may change by two grey levels: its mean colour, on average over R, G and
    B. Blocks average noise and light compression out, and still see a small object move in a frame that is otherwise
    still. Hard compression, and any of clips of 64 pixels or less, makes changes as large as slow motion does.
    """
    height, width = frames.shape[1:3]
    blocks = round(width / _BLOCK), round(height / _BLOCK)
    changes = [
        cv2.resize(after - before, blocks, interpolation=cv2.INTER_AREA)
        for before, after in zip(frames[:-1].astype(np.float32), frames[1:].astype(np.float32), strict=True)
    ]
    return np.array([float(np.abs(change).mean(axis=-1).max()) < _NEARLY for change in changes], dtype=bool)


def freeze_share(frames: Frames) -> float:
    """Share of steps from frame to frame at which nearly nothing changes, in [0, 1].

    1 for stills, a half where every frame is shown twice, as in a video that pretends to twice its frame rate.
    """
    return float(repeats(frames).mean())


def loop_closure(frames: Frames) -> float:
    """How far the step from the last frame back to the first is like the others: 1 for a seamless loop.

    Mean absolute difference between last and first frame over the median one between neighbours, each plus one grey
    level, which is too little to be seen: without it, stills would divide nothing by nothing; with it they have 1.
    Neighbours that repeat each other are left out, unless all do. Frames in random order also have about 1, as their
    last step is as bad as any; less than 1 means that the last frame already repeats the first.

    Args:
        frames: Shape (T, H, W, 3), uint8, T ≥ 3: of two frames, the way back is the way there.
    """
    pixels = frames.astype(np.float32)
    steps = np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3))
    repeated = repeats(frames)
    usual = np.median(steps if repeated.all() else steps[~repeated])
    closing = np.abs(pixels[-1] - pixels[0]).mean()
    return float((closing + _UNSEEN) / (usual + _UNSEEN))
