"""Measures against the true frames, for interpolation and super-resolution: PSNR, SSIM and LPIPS."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from evaluation import intervals
from evaluation.extractors.frame_pixels import FramePixels
from evaluation.extractors.lpips_features import LPIPSFeatures
from evaluation.metrics.base import ExtractedFeatures, Features, Metric, MetricResult, Number, Side
from mav_lightning.common.errors import UserError
from mav_lightning.common.text_files import composed
from mav_lightning.media.formats import VIDEO_SUFFIXES

__all__ = ["LPIPS", "PSNR", "SSIM", "TrueFrames"]

_MOST_DB = 100.0  # of equal frames, whose PSNR is infinite


@dataclass(frozen=True)
class TrueFrames(Metric):
    """Base of metrics that compare each frame of a generated clip with the same frame of the real clip of its id.

    Values are averaged over frames, then over source videos.

    Attributes:
        of: Extractor of what is compared.
        every: Frame skip of an interpolation: frames 0, `every`, 2 · `every`, … were given, and are not counted. None
            counts all frames.
    """

    needs_real = True
    independent_of_count = True
    reads_prompts = False

    of: str
    every: Annotated[int, Ge(2)] | None = None

    @abstractmethod
    def compare(self, generated: NDArray[np.generic], real: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the value of each frame, shape (T,), from the features of two clips, shape (T, …)."""

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the mean over clips and the value of each clip.

        Raises:
            UserError: If a generated clip has no real clip with its id or with its size, or `every` leaves out all
                frames.
        """
        generated, real = extracted.features(self.of, "generated"), extracted.features(self.of, "real")
        truths = {_base(key): row for row, key in enumerate(real.ids)}
        rows = [truths.get(_base(key)) for key in generated.ids]
        if lost := [key for key, row in zip(generated.ids, rows, strict=True) if row is None]:
            raise UserError(
                f"{name}: {len(lost)} generated clips have no real clip of the same id, first `{lost[0]}`; give the "
                "true clip of each the same id."
            )
        sides = [self._frames(extracted, "generated", generated), self._frames(extracted, "real", real)]
        if sides[0].shape[1:] != sides[1].shape[1:]:
            raise UserError(
                f"{name}: generated and real clips differ in size; add a step `resize` to the protocol, or provide "
                "true frames of the generated size."
            )
        counted = np.arange(sides[0].shape[1]) % (self.every or sides[0].shape[1] + 1) != 0
        counted |= self.every is None
        if not counted.any():
            raise UserError(
                f"{name}: clips of {len(counted)} frames have no frame between given ones; use longer clips."
            )
        each = np.array([
            self.compare(clip[counted], sides[1][row or 0][counted]).mean()
            for clip, row in zip(sides[0], rows, strict=True)
        ])  # fmt: skip
        groups = [real.groups[row or 0] for row in rows]
        return self._result(name, generated.ids, each, groups)

    def _result(self, name: str, ids: Sequence[str], each: NDArray[np.float64], groups: Sequence[str]) -> MetricResult:
        value, interval = intervals.grouped_mean(each, groups)
        score = self.score("{name}", value, interval, "Student's t of the mean over source videos, 95 %", len(each))
        return MetricResult({name: score}, clips={key: {name: float(one)} for key, one in zip(ids, each, strict=True)})

    def _frames(self, extracted: ExtractedFeatures, side: Side, found: Features) -> NDArray[np.generic]:
        """Return what is compared of each frame, shape (N, T, …)."""
        return found.values


class _Pixels(TrueFrames):
    """Base of measures of pixels."""

    roles = {"of": FramePixels}

    def _frames(self, extracted: ExtractedFeatures, side: Side, found: Features) -> NDArray[np.generic]:
        cut = extracted.cuts(side)[0]
        frames = len(cut.numbers or cut.seconds or ())
        return np.asarray(rearrange(found.values, "n (t h) (w c) -> n t c h w", t=frames, c=3))


@dataclass(frozen=True)
class PSNR(_Pixels):
    """Peak signal-to-noise ratio of RGB frames in [0, 255]; equal frames have 100 dB."""

    kind = "psnr"
    numbers = {"{name}": Number("higher", "dB")}

    def compare(self, generated: NDArray[np.generic], real: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the PSNR of each frame, from (T, 3, H, W)."""
        error = np.square(generated.astype(np.float64) - real.astype(np.float64)).mean(axis=(1, 2, 3))
        with np.errstate(divide="ignore"):
            return np.asarray(np.minimum(20 * np.log10(255) - 10 * np.log10(error), _MOST_DB))


@dataclass(frozen=True)
class SSIM(_Pixels):
    """Structural similarity of RGB frames, by torchmetrics: Gaussian window of 11 pixels, σ 1.5.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004).
        https://doi.org/10.1109/TIP.2003.819861
    """

    kind = "ssim"
    numbers = {"{name}": Number("higher", "SSIM")}

    def compare(self, generated: NDArray[np.generic], real: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the SSIM of each frame, from (T, 3, H, W)."""
        from torchmetrics.functional.image import structural_similarity_index_measure

        made, true = (torch.from_numpy(side.astype(np.float64)) for side in (generated, real))
        found = structural_similarity_index_measure(made, true, reduction="none", data_range=255.0)
        assert isinstance(found, Tensor), "no further images were asked for"
        return found.numpy()


@dataclass(frozen=True)
class LPIPS(TrueFrames):
    """Learned perceptual image patch similarity of frames; see `LPIPSFeatures`."""

    kind = "lpips"
    numbers = {"{name}": Number("lower", "LPIPS")}
    roles = {"of": LPIPSFeatures}

    def compare(self, generated: NDArray[np.generic], real: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the LPIPS of each frame, from features (T, d)."""
        return np.asarray(np.square(generated.astype(np.float64) - real.astype(np.float64)).sum(axis=1))


def _base(name: str) -> str:
    """Return an id without the number of the cut and without a suffix."""
    path = PurePosixPath(re.sub(r"#\d+$", "", composed(name)))
    return str(path.with_suffix("") if path.suffix[1:].lower() in (*VIDEO_SUFFIXES, "npy") else path)
