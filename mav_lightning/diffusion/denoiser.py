"""From a raw network to a denoiser, and its training loss."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from mav_lightning.diffusion.denoised import Estimate, step_variance

__all__ = ["CleanDenoiser", "Denoiser", "EDMDenoiser", "EpsDenoiser", "HybridDenoiser", "NetDenoiser", "VDenoiser"]


class Denoiser(Protocol):
    """Estimates the clean sample: ``denoiser(x, sigma, cond, fps, given)``, what samplers and guidance call."""

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, given: Tensor | None = None
    ) -> Estimate:
        """Estimates the clean sample of noisy `x` (B, …) at noise levels `sigma` (B,)."""
        ...


class NetDenoiser(nn.Module):
    r"""Makes a denoiser of a raw network: :math:`D(x; \sigma) = c_{skip} x + c_{out} F(c_{in} x; \ln(\sigma)/4)`.

    What the network predicts is a subclass's choice of the coefficients. The loss is the squared error of the network's
    own target, so its weight is :math:`1/c_{out}^2`.

    Args:
        net: ``net(x, noise, cond, fps)``, noise being :math:`\ln(\sigma)/4`.
        sigma_data: Standard deviation :math:`\sigma_d` of the data; of pixels in [-1, 1] about 0.5.

    Attributes:
        outputs: Numbers that the network puts out for every element of the sample: its target, and where there are two
            v in about [-1, 1], of which (v + 1) / 2 is `Estimate.share`.
    """

    outputs = 1

    def __init__(self, net: nn.Module, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.sigma_data = net, sigma_data

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r""":math:`c_{skip}`, :math:`c_{out}` and :math:`c_{in}` at noise levels of any shape, each of that shape."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, given: Tensor | None = None
    ) -> Estimate:
        """Estimates the clean sample.

        Args:
            x: Noisy samples: images (B, C, H, W), clips (B, C, T, H, W), embeddings (B, D).
            sigma: Noise levels, shape (B,).
            cond: Conditions, shape (B, …); a row of zeros means "no condition".
            fps: Frames per second, shape (B,); required for clips.
            given: What is known of every pixel, as further channels the network sees beside `x`, unscaled: shape of
                `x` but for the channels. None where the network was built without them.

        Returns:
            The estimate, shape of `x`.
        """
        c_skip, c_out, c_in = self.coefficients(_column(sigma, x))
        seen = c_in * x if given is None else torch.cat([c_in * x, given], dim=1)
        target, *v = self.net(seen, sigma.log().to(x.dtype) / 4, cond, fps).chunk(self.outputs, dim=1)
        return Estimate(c_skip * x + c_out * target, (v[0] + 1) / 2 if v else None)

    def errors(self, x: Tensor, level: Tensor, estimate: Estimate) -> Tensor:
        """The loss of every element: the squared error of the network's own target. Shape of `x`.

        Args:
            x: Clean samples.
            level: The noise level, broadcast to `x`.
            estimate: What the denoiser said.
        """
        return self.coefficients(level)[1].square().reciprocal() * (estimate.clean - x).square()

    def loss(
        self,
        x: Tensor,
        sigma: Tensor,
        cond: Tensor,
        fps: Tensor | None = None,
        given: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """The denoising loss of each sample, shape (B,).

        Noise is drawn from the global generator, for every frame by itself.

        Args:
            x: Clean samples, shape (B, …).
            sigma: As in `forward`, like all that follow.
            cond: As there.
            fps: As there.
            given: As there.
            wanted: Weight of every element's error, broadcast to `x`, above 0 somewhere in every sample; None weighs
                all alike.
        """
        level = _column(sigma, x)
        noisy = x + level * torch.randn_like(x)
        error = self.errors(x, level, self(noisy, sigma, cond, fps, given))
        if wanted is None:
            return error.flatten(1).mean(1)
        share = wanted.to(error.dtype).expand_as(error).flatten(1)
        return (share * error.flatten(1)).sum(1) / share.sum(1)


class EDMDenoiser(NetDenoiser):
    r"""EDM's preconditioning: the network's input and target have unit variance at every noise level.

    The loss is weighted by :math:`(\sigma^2+\sigma_d^2)/(\sigma\sigma_d)^2`.

    References:
        EDM (Karras et al., 2022), Equation 7 and Table 1. https://arxiv.org/abs/2206.00364
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `NetDenoiser.coefficients`."""
        total = (sigma.square() + self.sigma_data**2).sqrt()
        return self.sigma_data**2 / total.square(), sigma * self.sigma_data / total, 1 / total


class VDenoiser(NetDenoiser):
    r"""The network predicts :math:`v = \alpha\varepsilon - \varsigma x_0` of the variance-preserving process.

    With :math:`\alpha = 1/\sqrt{1+\sigma^2}` and :math:`\varsigma = \sigma\alpha`. It is EDM's preconditioning for data
    of unit variance, with the opposite sign; `sigma_data` does not enter.

    References:
        Progressive distillation (Salimans and Ho, 2022), Appendix D. https://arxiv.org/abs/2202.00512
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `NetDenoiser.coefficients`."""
        alpha = (1 + sigma.square()).rsqrt()
        return alpha.square(), -sigma * alpha, alpha


class EpsDenoiser(NetDenoiser):
    r"""The network predicts the noise: :math:`D = x - \sigma F`, as the decoder of Make-A-Video does (after DDPM).

    References:
        DDPM (Ho et al., 2020), Equation 14. https://arxiv.org/abs/2006.11239
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `NetDenoiser.coefficients`."""
        return torch.ones_like(sigma), -sigma, (self.sigma_data**2 + sigma.square()).rsqrt()


class HybridDenoiser(EpsDenoiser):
    r"""Predicts the noise, and how far each step is open: the loss that Make-A-Video names (§3.2).

    The loss is :math:`L_{simple} + \lambda L_{vlb}`: the squared error of the noise, and the divergence of the step to
    the next lower level from the true one, in nats an element and times the number of steps; it teaches the variance
    alone. The steps are those of a ladder even in :math:`\ln\sigma`: our choice, like its ends.

    References:
        Improved DDPM (Nichol and Dhariwal, 2021), §3.1 and Equations 15 and 16. https://arxiv.org/abs/2102.09672

    Args:
        net: As `NetDenoiser`, with twice as many output channels as the samples have.
        sigma_data: As there.
        steps: Of the ladder from `sigma_max` to `sigma_min`.
        vlb_weight: The weight :math:`\lambda`.
        sigma_min: The ladder's lowest level.
        sigma_max: Its highest.
    """

    outputs = 2

    def __init__(
        self,
        net: nn.Module,
        sigma_data: float = 0.5,
        steps: int = 1000,
        vlb_weight: float = 0.001,
        sigma_min: float = 0.02,
        sigma_max: float = 80.0,
    ) -> None:
        super().__init__(net, sigma_data)
        if steps < 1 or vlb_weight < 0 or not 0 < sigma_min < sigma_max:
            raise ValueError(
                "HybridDenoiser: needs steps ≥ 1, vlb_weight ≥ 0 and 0 < sigma_min < sigma_max, got "
                f"{steps}, {vlb_weight:g}, {sigma_min:g} and {sigma_max:g}."
            )
        self.ratio = math.exp(math.log(sigma_min / sigma_max) / steps)
        self.weight = vlb_weight * steps

    def errors(self, x: Tensor, level: Tensor, estimate: Estimate) -> Tensor:
        """As `NetDenoiser.errors`."""
        assert estimate.share is not None
        following = level * self.ratio
        true, told = step_variance(level, following, None), step_variance(level, following, estimate.share)
        miss = (1 - self.ratio**2) * (estimate.clean.detach() - x)  # of the step's mean
        divergence = ((told / true).log() + (true + miss.square()) / told - 1) / 2
        return super().errors(x, level, estimate) + self.weight * divergence


class CleanDenoiser(NetDenoiser):
    """The network predicts the clean sample itself, with a plain squared error: the prior's choice.

    References:
        DALL-E 2 (Ramesh et al., 2022), Equation 2. https://arxiv.org/abs/2204.06125
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `NetDenoiser.coefficients`."""
        c_in = (self.sigma_data**2 + sigma.square()).rsqrt()
        return torch.zeros_like(sigma), torch.ones_like(sigma), c_in


def _column(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
