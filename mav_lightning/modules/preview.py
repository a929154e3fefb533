"""Looking at a decoder while it trains: a few clips, and a cheap number for each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from mav_lightning.common.pixels import dequantize, to_uint8
from mav_lightning.diffusion.denoiser import Denoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.prompts import shapes_stills

__all__ = ["ShapesPreview"]

Score = Callable[[NDArray[np.uint8], NDArray[np.float64], Sequence[str]], Mapping[str, float]]


class ShapesPreview:
    """Animates stills of Shapes World: each shape's image embedding in, clips at several frame rates out.

    No text takes part, so what it shows is the decoder's alone.

    Args:
        size: Side of the frames, in pixels.
        frames: Frames in a clip.
        fps: Frame rates, each for every still.
        per_pair: Stills of every pair of colour and shape.
        steps: Of the sampler.
        guidance_scale: 1 for none.
        score: Clips (N, T, H, W, 3) uint8, their fps (N,) and shapes → named numbers; None scores nothing.
        shown: Clips of each frame rate that TensorBoard plays.
    """

    def __init__(
        self,
        size: int,
        frames: int,
        fps: Sequence[float] = (4.0, 8.0, 16.0),
        per_pair: int = 1,
        steps: int = 12,
        guidance_scale: float = 1.0,
        score: Score | None = None,
        shown: int = 8,
    ) -> None:
        stills, self.shapes = shapes_stills(size, per_pair)
        self.stills = dequantize(rearrange(torch.from_numpy(stills), "n h w c -> n c h w"))
        self.size, self.frames, self.fps, self.score, self.shown = size, frames, fps, score, shown
        self.steps, self.guidance_scale = steps, guidance_scale

    @torch.inference_mode()
    def __call__(
        self, denoiser: Denoiser, encoder: Callable[[Tensor], Tensor], device: torch.device
    ) -> tuple[dict[str, tuple[NDArray[np.uint8], float]], dict[str, float]]:
        """Samples.

        Returns:
            Tag → (clips, fps) to play, and name → number.
        """
        cond = encoder(self.stills.to(device))
        clips = {rate: self._sample(denoiser, cond, rate) for rate in self.fps}
        shown = {f"clips/{rate:g}fps": (video[: self.shown], rate) for rate, video in clips.items()}
        if self.score is None:
            return shown, {}
        rates = np.repeat(np.asarray(self.fps, np.float64), len(self.shapes))
        scores = self.score(np.concatenate(list(clips.values())), rates, self.shapes * len(self.fps))
        return shown, {name: value for name, value in scores.items() if np.isfinite(value)}

    def _sample(self, denoiser: Denoiser, cond: Tensor, rate: float) -> NDArray[np.uint8]:
        fps = torch.full((len(cond),), rate, device=cond.device)
        draw = SeededNoise(range(len(cond)), (3, self.frames, self.size, self.size), cond.device)
        guided = Guided(denoiser, self.guidance_scale)
        return to_uint8(dpm_solver_pp_2m(lambda x, s: guided(x, s, cond, fps), draw, karras_sigmas(self.steps)))
