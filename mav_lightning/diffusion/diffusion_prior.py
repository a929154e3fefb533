"""The prior P: from a caption to the image embedding that the decoder draws (§3.1 of Make-A-Video)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.diffusion.denoiser import CleanDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.nn.base import Prior

__all__ = ["DiffusionPrior"]

_STREAM = 1  # of the clip's seed: the decoder's noise is the same whatever prior stands before it


class DiffusionPrior(CleanDenoiser, Prior):
    """A denoiser of image embeddings, given text; the only component that sees text.

    Embeddings are diffused at unit variance: unit vectors times the square root of their length D.

    References:
        DALL-E 2 (Ramesh et al., 2022), §2.2; there the better of two samples is kept.

    Args:
        net: ``net(x, noise, cond)``, such as a `PriorTransformer`.
        steps: Of the sampler, at least 2.
        guidance_scale: 1 for none.
        candidates: Embeddings drawn for each caption, of which the one most similar to the text is kept.
    """

    def __init__(self, net: nn.Module, steps: int = 8, guidance_scale: float = 1.0, candidates: int = 2) -> None:
        super().__init__(net, sigma_data=1.0)
        if candidates < 1:
            raise ValueError(f"DiffusionPrior: `candidates` must be at least 1, got {candidates}.")
        self.steps, self.guidance_scale, self.candidates = steps, guidance_scale, candidates

    @torch.no_grad()
    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Draws unit image embeddings.

        Args:
            captions: Embedding and words of B captions, shape (B, 1 + length, D).
            seeds: B of them; an embedding depends on its own caption and seed alone.

        Returns:
            Shape (B, D).
        """
        draw = SeededNoise(seeds, captions.shape[-1:], captions.device, stream=_STREAM)
        noise = torch.stack([draw() for _ in range(self.candidates)], dim=1).flatten(0, 1)
        cond, guided = captions.repeat_interleave(self.candidates, dim=0), Guided(self, self.guidance_scale)
        drawn = dpm_solver_pp_2m(lambda x, sigma: guided(x, sigma, cond), lambda: noise, karras_sigmas(self.steps))
        drawn = F.normalize(drawn, dim=-1).unflatten(0, (-1, self.candidates))
        best = (drawn @ captions[:, 0, :, None]).squeeze(-1).argmax(dim=1)
        return drawn[torch.arange(len(drawn)), best]
