"""Previews of a decoder during training: a few clips and quick scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.log_names import PREVIEW
from mav_lightning.common.pixels import dequantize, to_uint8
from mav_lightning.common.schema import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.modules.base import ImageEncoder
from mav_lightning.nn.base import ImagePrior, TextImageEncoder
from mav_lightning.prompts import shapes_stills

__all__ = ["DecoderPreview", "PromptPreview", "ShapesPreview"]

Score = Callable[[NDArray[np.uint8], NDArray[np.float64], Sequence[str]], Mapping[str, float]]


class DecoderPreview(ABC):
    """Base of previews: samples clips at several frame rates from image embeddings, which a subclass provides.

    Args:
        size: Height and width of the frames, in pixels.
        frames: Frames per clip.
        fps: Frame rates in frames per second; every embedding is sampled at each.
        steps: Number of sampling steps, at least 2.
        guidance_scale: Weight of classifier-free guidance. 1 disables it.
        shown: Number of clips per frame rate that are logged.
    """

    def __init__(
        self,
        size: int,
        frames: int,
        fps: Sequence[float],
        steps: int,
        guidance_scale: float,
        shown: int,
    ) -> None:
        self.size, self.frames, self.fps, self.shown = size, frames, fps, shown
        self.steps, self.guidance_scale = steps, guidance_scale

    @torch.inference_mode()
    def __call__(
        self, denoiser: NetDenoiser, encoder: ImageEncoder | None, device: torch.device
    ) -> tuple[dict[str, tuple[NDArray[np.uint8], float]], dict[str, float]]:
        """Sample and score clips.

        Args:
            denoiser: The decoder.
            encoder: Encoder of the conditioning images. None if the training reads cached embeddings.
            device: Device to sample on.

        Returns:
            Tag → (clips, fps) to log, and name → score. Both are empty if the preview needs an encoder and has none.
        """
        cond = self.embeddings(encoder, device)
        if cond is None:
            return {}, {}
        clips = {rate: self._sample(denoiser, cond, rate) for rate in self.fps}
        shown = {f"{PREVIEW}/{rate:g}fps": (video[: self.shown], rate) for rate, video in clips.items()}
        return shown, {name: value for name, value in self.scores(clips).items() if np.isfinite(value)}

    @abstractmethod
    def embeddings(self, encoder: ImageEncoder | None, device: torch.device) -> Tensor | None:
        """Return the image embeddings to sample from, shape (N, D), on `device`; None if an encoder is missing.

        Args:
            encoder: Encoder of the conditioning images. None if the training has none.
            device: Device to sample on.
        """

    def scores(self, clips: Mapping[float, NDArray[np.uint8]]) -> Mapping[str, float]:
        """Return name → score; none unless a subclass measures something.

        Args:
            clips: Frame rate → clips, shape (N, T, H, W, 3).
        """
        return {}

    def _sample(self, denoiser: NetDenoiser, cond: Tensor, rate: float) -> NDArray[np.uint8]:
        fps = torch.full((len(cond),), rate, device=cond.device)
        shape = (3, self.frames, self.size, self.size)
        draw = SeededNoise(range(len(cond)), shape, cond.device, correlation=denoiser.frame_correlation)
        guided = Guided(denoiser, self.guidance_scale)
        return to_uint8(dpm_solver_pp_2m(lambda x, s: guided(x, s, cond, fps), draw, karras_sigmas(self.steps)))


class ShapesPreview(DecoderPreview):
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
        super().__init__(size, frames, fps, steps, guidance_scale, shown)
        stills, self.shapes = shapes_stills(size, per_pair)
        self.stills = dequantize(rearrange(torch.from_numpy(stills), "n h w c -> n c h w"))
        self.score = score

    def embeddings(self, encoder: ImageEncoder | None, device: torch.device) -> Tensor | None:
        """Return the embeddings of the stills; None without an encoder."""
        return None if encoder is None else encoder(self.stills.to(device))

    def scores(self, clips: Mapping[float, NDArray[np.uint8]]) -> Mapping[str, float]:
        """Return the scores of all clips; none without `score`."""
        if self.score is None:
            return {}
        rates = np.repeat(np.asarray(self.fps, np.float64), len(self.shapes))
        return self.score(np.concatenate(list(clips.values())), rates, self.shapes * len(self.fps))


class PromptPreview(DecoderPreview):
    """Samples prompts of the user's own, through the text encoder and the prior, as a pipeline would.

    Args:
        size: Height and width of the frames, in pixels.
        frames: Frames per clip.
        prompts: The prompts, at least one.
        clip: The trained CLIP.
        prior: The trained prior.
        fps: Frame rates in frames per second; every prompt is sampled at each.
        steps: Number of sampling steps, at least 2.
        guidance_scale: Weight of classifier-free guidance. 1 disables it.

    Raises:
        UserError: If there is no prompt, `clip` does not embed captions, or `prior` predicts no image embeddings.
    """

    def __init__(
        self,
        size: PositiveInt,
        frames: PositiveInt,
        prompts: Sequence[str],
        clip: nn.Module,
        prior: nn.Module,
        fps: Sequence[PositiveFloat] = (8.0,),
        steps: PositiveInt = 12,
        guidance_scale: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(size, frames, fps, steps, guidance_scale, shown=len(prompts))
        if not prompts or not all(prompt.strip() for prompt in prompts):
            raise UserError("must hold at least one prompt, and none may be empty.", argument="prompts")
        if not isinstance(clip, TextImageEncoder):
            raise UserError(f"must embed images and captions, got a {type(clip).__name__}.", argument="clip")
        if not isinstance(prior, ImagePrior):
            raise UserError(f"must predict image embeddings, got a {type(prior).__name__}.", argument="prior")
        self.prompts = list(prompts)
        self._networks: tuple[TextImageEncoder, ImagePrior] | None = (clip, prior)
        self._predicted = torch.empty(0)

    def embeddings(self, encoder: ImageEncoder | None, device: torch.device) -> Tensor:
        """Return the embeddings that the prior predicts for the prompts."""
        if self._networks is not None:  # once: neither network changes while the decoder trains
            clip, prior = self._networks
            words = clip.to(device).eval().encode_words(self.prompts)
            predicted = prior.to(device).eval().predict(words, range(len(self.prompts)))
            self._predicted, self._networks = predicted, None
        return self._predicted.to(device)
