"""The prior P of an unCLIP pipeline of diffusers, such as Karlo's: a transformer on discrete noise levels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mav_lightning.common.arguments import checked
from mav_lightning.common.diffusers_library import diffusers_class, known_arguments
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, PositiveFloat, PositiveInt
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.diffusion_prior import PRIOR_STREAM
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import trained_sigmas
from mav_lightning.diffusion.samplers import ddpm
from mav_lightning.nn.base import ImagePrior, PriorNetwork
from mav_lightning.pretrained.grown_conditioning import caption_or_empty
from mav_lightning.pretrained.timesteps import NoiseSchedule, TimestepOfNoise

__all__ = ["UnclipPrior", "UnclipPriorNetwork"]


class UnclipPriorNetwork(PriorNetwork):
    """A ``PriorTransformer`` of diffusers. Captions of zeros, "no condition", are replaced by the empty caption.

    Args:
        config: Arguments of the class, as in the source's ``config.json``.
        schedule: Noise schedule of the source's training.

    Raises:
        UserError: If diffusers is not installed, or the arguments describe another kind of prior.
    """

    null_text: Tensor

    def __init__(self, config: Mapping[str, Any], schedule: NoiseSchedule) -> None:
        super().__init__()
        kind = diffusers_class("diffusers.models.transformers.prior_transformer", "PriorTransformer")
        self.model = kind(**known_arguments(kind, config))
        found = self.model.config
        self.channels, self.length = found.embedding_dim, found.num_embeddings
        others = (found.embedding_proj_dim, found.clip_embed_dim)
        if found.encoder_hid_proj_type != "linear" or any(one not in (None, self.channels) for one in others):
            raise UserError("must read captions' tokens, with embeddings of one length throughout.", argument="config")
        self.timestep = TimestepOfNoise(schedule)
        self.register_buffer("null_text", torch.zeros(1 + self.length, self.channels))

    def training_sigmas(self) -> Tensor:
        """Return the noise levels of the source's training."""
        return self.timestep.sigmas()

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Predict what the source was trained to predict.

        Args:
            x: Noisy image embeddings, scaled by the source's mean and standard deviation, shape (B, D).
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Caption and token embeddings, shape (B, 1 + length, D). Rows of zeros are padding.
            fps: Ignored.

        Returns:
            The prediction, shape (B, D).
        """
        rows = caption_or_empty(self.null_text, cond, cond)
        out: Tensor = self.model(
            x,
            self.timestep(noise),
            proj_embedding=rows[:, 0],
            encoder_hidden_states=rows[:, 1:],
            attention_mask=(rows[:, 1:] != 0).any(2),
        ).predicted_image_embedding
        return out

    def unscale(self, x: Tensor) -> Tensor:
        """Return image embeddings (B, D) with the mean and standard deviation of the source's training."""
        out: Tensor = self.model.post_process_latents(x)
        return out


class UnclipPrior(ImagePrior):
    """The prior of an unCLIP pipeline, sampled by DDPM on the noise levels of its training.

    References:
        DALL-E 2 (Ramesh et al., 2022), §2.2. https://arxiv.org/abs/2204.06125

    Args:
        denoiser: Denoiser of an `UnclipPriorNetwork`.
        steps: Number of sampling steps, at least 2.
        guidance_scale: Weight of classifier-free guidance. 1 disables it.
        clip_range: Largest absolute value of an estimate's elements; larger ones are clipped. None for no limit.

    Raises:
        UserError: If the denoiser wraps another network.
    """

    keeps_captions = True

    @checked
    def __init__(
        self,
        denoiser: NetDenoiser,
        steps: PositiveInt = 25,
        guidance_scale: NonNegativeFloat = 4.0,
        clip_range: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(denoiser.net, UnclipPriorNetwork):
            raise UserError(
                f"must wrap an UnclipPriorNetwork, got a {type(denoiser.net).__name__}.", argument="denoiser"
            )
        self.denoiser = denoiser
        self.steps, self.guidance_scale, self.clip_range = steps, guidance_scale, clip_range

    @torch.no_grad()
    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sample image embeddings, each with the norm that the decoder was trained on.

        Args:
            captions: Caption and token embeddings, shape (B, 1 + length, D).
            seeds: One seed per caption; an embedding depends on its own caption and seed only.

        Returns:
            Conditions of the decoder, shape (B, 2 + length, D): image embedding, caption embedding, tokens.
        """
        net = self.denoiser.net
        assert isinstance(net, UnclipPriorNetwork)  # see the constructor
        guided = Guided(self.denoiser, self.guidance_scale)
        draw = SeededNoise(seeds, captions.shape[-1:], captions.device, stream=PRIOR_STREAM)
        sigmas = trained_sigmas(net.training_sigmas(), self.steps)

        def denoise(x: Tensor, sigma: Tensor) -> Denoised:
            return guided(x, sigma, captions).clipped(self.clip_range)

        image = net.unscale(ddpm(denoise, draw, sigmas))
        return torch.cat([image[:, None], captions], dim=1)
