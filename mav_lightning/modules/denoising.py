"""How a denoiser is trained, whatever it denoises: its conditions, its noise levels and its optimizer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mav_lightning.diffusion.schedule import LogNormalNoise
from mav_lightning.modules.optim import MakeOptimizer, WarmupCosine, optimization

__all__ = ["Denoising"]


@dataclass(frozen=True)
class Denoising:
    """What the trainings of all denoisers of pixels have in common.

    Attributes:
        encoder: Images (B, 3, H, W) in [-1, 1] → image embeddings (B, D).
        noise: Draws the noise levels of training.
        optimizer: Makes the optimizer from the trainable parameters.
        schedule: Factor of the learning rate by step.
        cond_dropout: Share of samples trained without condition, for guidance.
        cond_noise: Standard deviation of the noise on the embedding, in units of its length. What stands between
            text and decoder never hits an image's embedding exactly, and knows nothing of where in the image things
            are, which an embedding tells faintly; noise hides what is faint.
    """

    encoder: Callable[[Tensor], Tensor]
    noise: LogNormalNoise
    optimizer: MakeOptimizer
    schedule: WarmupCosine
    cond_dropout: float = 0.1
    cond_noise: float = 0.3

    def condition(self, images: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W), roughens the embeddings and drops some: (B, D)."""
        cond = self.encoder(images)
        cond = cond + self.cond_noise / cond.shape[1] ** 0.5 * torch.randn_like(cond)
        return cond * (torch.rand(len(cond), 1, device=cond.device) >= self.cond_dropout)

    def optimization(
        self, module: nn.Module, lr_factor: Callable[[str], float] = lambda name: 1.0
    ) -> OptimizerLRSchedulerConfig:
        """One optimizer over what is trainable in `module`; see `optim.optimization`."""
        return optimization(module, self.optimizer, self.schedule, lr_factor)
