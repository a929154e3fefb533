"""The prior P: from captions to image embeddings (§3.1 of Make-A-Video)."""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.arguments import checked
from mav_lightning.common.schema import NonNegativeFloat, PositiveInt
from mav_lightning.diffusion.denoiser import X0Denoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.nn.base import ImagePrior, PriorNetwork

__all__ = ["PRIOR_STREAM", "DiffusionPrior"]

PRIOR_STREAM = 1  # of the clip's seed: the decoder's noise does not depend on the prior


class DiffusionPrior(X0Denoiser, ImagePrior):
    """Denoiser of image embeddings, conditioned on captions.

    Embeddings are diffused at unit variance: unit vectors times the square root of their length D.

    References:
        DALL-E 2 (Ramesh et al., 2022), §2.2, which keeps the better of two samples.

    Args:
        net: The network, such as a `PriorTransformer`.
        steps: Number of sampling steps, at least 2.
        guidance_scale: Weight of classifier-free guidance. 1 disables it.
        candidates: Number of embeddings sampled per caption; the one most similar to the caption is kept.
    """

    net: PriorNetwork

    @checked
    def __init__(
        self,
        net: PriorNetwork,
        steps: PositiveInt = 8,
        guidance_scale: NonNegativeFloat = 1.0,
        candidates: PositiveInt = 2,
    ) -> None:
        super().__init__(net, sigma_data=1.0)
        self.steps, self.guidance_scale, self.candidates = steps, guidance_scale, candidates

    @torch.no_grad()
    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sample unit image embeddings.

        Args:
            captions: Caption and token embeddings, shape (B, 1 + length, D).
            seeds: One seed per caption; an embedding depends on its own caption and seed only.

        Returns:
            Image embeddings, shape (B, D).
        """
        draw = SeededNoise(seeds, captions.shape[-1:], captions.device, stream=PRIOR_STREAM)
        noise = torch.stack([draw() for _ in range(self.candidates)], dim=1).flatten(0, 1)
        cond = repeat(captions, "b n d -> (b candidates) n d", candidates=self.candidates)
        guided = Guided(self, self.guidance_scale)
        sample = dpm_solver_pp_2m(lambda x, sigma: guided(x, sigma, cond), lambda: noise, karras_sigmas(self.steps))
        sample = rearrange(F.normalize(sample, dim=-1), "(b n) d -> b n d", n=self.candidates)
        best = (sample @ captions[:, 0, :, None]).squeeze(-1).argmax(dim=1)
        return sample[torch.arange(len(sample)), best]
