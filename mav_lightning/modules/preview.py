"""Preview of a decoder during training: a few clips and quick scores."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from mav_lightning.common.log_names import PREVIEW
from mav_lightning.common.pixels import dequantize, to_uint8
from mav_lightning.common.schema import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.prompts import shapes_stills

__all__ = ["ShapesPreview"]

Score = Callable[[NDArray[np.uint8], NDArray[np.float64], Sequence[str]], Mapping[str, float]]


class ShapesPreview:
    """Animates stills of Shapes World: samples clips at several frame rates from the image embedding of each shape.

    No text is involved, so the result depends on the decoder only.

    Args:
        size: Height and width of the frames, in pixels.
        frames: Frames per clip.
        fps: Frame rates in frames per second; every still is animated at each.
        per_pair: Number of stills for every pair of color and shape.
        steps: Number of sampling steps, at least 2.
        guidance_scale: Weight of classifier-free guidance. 1 disables it.
        score: Maps clips (N, T, H, W, 3) uint8, their frame rates (N,) and shapes to named scores. None for no scores.
        shown: Number of clips per frame rate that are logged.
    """

    def __init__(
        self,
        size: PositiveInt,
        frames: PositiveInt,
        fps: Sequence[PositiveFloat] = (4.0, 8.0, 16.0),
        per_pair: PositiveInt = 1,
        steps: PositiveInt = 12,
        guidance_scale: NonNegativeFloat = 1.0,
        score: Score | None = None,
        shown: NonNegativeInt = 8,
    ) -> None:
        stills, self.shapes = shapes_stills(size, per_pair)
        self.stills = dequantize(rearrange(torch.from_numpy(stills), "n h w c -> n c h w"))
        self.size, self.frames, self.fps, self.score, self.shown = size, frames, fps, score, shown
        self.steps, self.guidance_scale = steps, guidance_scale

    @torch.inference_mode()
    def __call__(
        self, denoiser: NetDenoiser, encoder: Callable[[Tensor], Tensor], device: torch.device
    ) -> tuple[dict[str, tuple[NDArray[np.uint8], float]], dict[str, float]]:
        """Sample and score clips.

        Args:
            denoiser: The decoder.
            encoder: Encoder of the conditioning images.
            device: Device to sample on.

        Returns:
            Tag → (clips, fps) to log, and name → score.
        """
        cond = encoder(self.stills.to(device))
        clips = {rate: self._sample(denoiser, cond, rate) for rate in self.fps}
        shown = {f"{PREVIEW}/{rate:g}fps": (video[: self.shown], rate) for rate, video in clips.items()}
        if self.score is None:
            return shown, {}
        rates = np.repeat(np.asarray(self.fps, np.float64), len(self.shapes))
        scores = self.score(np.concatenate(list(clips.values())), rates, self.shapes * len(self.fps))
        return shown, {name: value for name, value in scores.items() if np.isfinite(value)}

    def _sample(self, denoiser: NetDenoiser, cond: Tensor, rate: float) -> NDArray[np.uint8]:
        fps = torch.full((len(cond),), rate, device=cond.device)
        shape = (3, self.frames, self.size, self.size)
        draw = SeededNoise(range(len(cond)), shape, cond.device, correlation=denoiser.frame_correlation)
        guided = Guided(denoiser, self.guidance_scale)
        return to_uint8(dpm_solver_pp_2m(lambda x, s: guided(x, s, cond, fps), draw, karras_sigmas(self.steps)))
