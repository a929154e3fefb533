"""Denoisers: the preconditioning that turns a network into a denoiser, and its training loss."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from mav_lightning.diffusion.denoised import Denoised, step_variance
from mav_lightning.diffusion.noise import noise_like
from mav_lightning.nn.base import Network, SpaceTimeNetwork

__all__ = [
    "X0Denoiser",
    "Denoiser",
    "EDMDenoiser",
    "EpsDenoiser",
    "FlowDenoiser",
    "HybridDenoiser",
    "NetDenoiser",
    "VDenoiser",
    "space_time_network",
]


class Denoiser(Protocol):
    """Protocol of denoisers that samplers call; ``denoiser(x, sigma, cond, fps, concat_cond)`` estimates x0."""

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
    ) -> Denoised:
        """Estimate x0 from noisy samples; see `NetDenoiser.forward` for the arguments."""
        ...


class NetDenoiser(nn.Module):
    r"""Base of denoisers that wrap a network: :math:`D(x; \sigma) = c_{skip} x + c_{out} F(c_{in} x; \ln(\sigma)/4)`.

    A subclass chooses what the network predicts by the three coefficients. The loss is the squared error of the
    network's own target, which weights the error of x0 by :math:`1/c_{out}^2`.

    Args:
        net: The network, ``net(x, noise, cond, fps)`` with noise :math:`\ln(\sigma)/4`.
        sigma_data: Standard deviation :math:`\sigma_d` of the data; about 0.5 for pixels in [-1, 1].
        frame_correlation: Correlation of the noise of any two frames of a clip, in training and in sampling, from 0 to
            1; see `correlated`.
        noise_offset: Standard deviation of noise that is constant over all pixels and frames of a channel, added to the
            noise in training; see `noise_like`.

    Attributes:
        outputs: Number of outputs of the network per element of the sample: its target, and for 2 also v in about
            [-1, 1], where (v + 1) / 2 is `Denoised.variance_fraction`.
    """

    outputs = 1
    net: Network

    @checked
    def __init__(
        self,
        net: Network,
        sigma_data: PositiveFloat = 0.5,
        frame_correlation: Fraction = 0.0,
        noise_offset: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__()
        self.net, self.sigma_data = net, sigma_data
        self.frame_correlation, self.noise_offset = frame_correlation, noise_offset

    @property
    def channels(self) -> int:
        """Channels of the images or clips that are denoised: 3 for RGB, 4 for most latents."""
        return space_time_network(self).out_channels // self.outputs

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Compute :math:`c_{skip}`, :math:`c_{out}` and :math:`c_{in}` at noise levels of any shape."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
    ) -> Denoised:
        """Estimate x0.

        Args:
            x: Noisy samples: images (B, C, H, W), clips (B, C, T, H, W) or embeddings (B, D).
            sigma: Noise levels, shape (B,).
            cond: Conditioning embeddings, shape (B, ...). A row of zeros means "no condition".
            fps: Frame rate of each clip in frames per second, shape (B,). Required for clips.
            concat_cond: Concatenated conditioning: further input channels, not noisy and not scaled, shape of `x` but
                for the channels. None if the network has no further input channels.

        Returns:
            The x0 estimate, shape of `x`.
        """
        c_skip, c_out, c_in = self.coefficients(_column(sigma, x))
        inputs = c_in * x if concat_cond is None else torch.cat([c_in * x, concat_cond], dim=1)
        target, *v = self.net(inputs, sigma.log().to(x.dtype) / 4, cond, fps).chunk(self.outputs, dim=1)
        return Denoised(c_skip * x + c_out * target, (v[0] + 1) / 2 if v else None)

    def errors(self, x0: Tensor, sigma: Tensor, denoised: Denoised) -> Tensor:
        """Compute the loss of every element: the squared error of the network's own target.

        Args:
            x0: Samples without noise.
            sigma: Noise levels, broadcast to `x0`.
            denoised: Output of the denoiser.

        Returns:
            Loss, shape of `x0`.
        """
        return self.coefficients(sigma)[1].square().reciprocal() * (denoised.x0 - x0).square()

    def loss(
        self,
        x0: Tensor,
        sigma: Tensor,
        cond: Tensor,
        fps: Tensor | None = None,
        concat_cond: Tensor | None = None,
        loss_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the denoising loss of each sample, with noise from PyTorch's global generator.

        Args:
            x0: Samples without noise, shape (B, ...).
            sigma: Noise levels, shape (B,).
            cond: Conditioning embeddings, shape (B, ...). A row of zeros means "no condition".
            fps: Frame rate of each clip in frames per second, shape (B,). Required for clips.
            concat_cond: Concatenated conditioning, shape of `x0` but for the channels. None for none.
            loss_mask: Weight of each element's error, broadcast to `x0`, above 0 somewhere in every sample. None for
                equal weights.

        Returns:
            Loss, shape (B,).
        """
        level = _column(sigma, x0)
        noisy = x0 + level * noise_like(x0, self.frame_correlation, self.noise_offset)
        error = self.errors(x0, level, self(noisy, sigma, cond, fps, concat_cond))
        if loss_mask is None:
            return error.flatten(1).mean(1)
        weight = loss_mask.to(error.dtype).expand_as(error).flatten(1)
        return (weight * error.flatten(1)).sum(1) / weight.sum(1)


def space_time_network(denoiser: nn.Module) -> SpaceTimeNetwork:
    """Return the network of a denoiser of images or clips.

    Raises:
        UserError: If `denoiser` is not a `NetDenoiser` of a `SpaceTimeNetwork`.
    """
    if isinstance(denoiser, NetDenoiser) and isinstance(denoiser.net, SpaceTimeNetwork):
        return denoiser.net
    kind = type(denoiser.net if isinstance(denoiser, NetDenoiser) else denoiser).__name__
    raise UserError(f"must wrap a SpaceTimeNetwork, got a {kind}.", argument="denoiser")


class EDMDenoiser(NetDenoiser):
    r"""EDM preconditioning: the network's input and target have unit variance at every noise level.

    The loss is weighted by :math:`(\sigma^2+\sigma_d^2)/(\sigma\sigma_d)^2`.

    References:
        EDM (Karras et al., 2022), Equation 7 and Table 1. https://arxiv.org/abs/2206.00364
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the coefficients of EDM."""
        total = (sigma.square() + self.sigma_data**2).sqrt()
        return self.sigma_data**2 / total.square(), sigma * self.sigma_data / total, 1 / total


class VDenoiser(NetDenoiser):
    r"""v-prediction: the network predicts :math:`v = \alpha\varepsilon - \varsigma x_0`.

    The process is variance-preserving,
    with :math:`\alpha = 1/\sqrt{1+\sigma^2}` and :math:`\varsigma = \sigma\alpha`. This equals EDM
    preconditioning for data of unit variance, with the opposite sign; `sigma_data` is not used.

    References:
        Progressive distillation (Salimans and Ho, 2022), Appendix D. https://arxiv.org/abs/2202.00512
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the coefficients of v-prediction."""
        alpha = (1 + sigma.square()).rsqrt()
        return alpha.square(), -sigma * alpha, alpha


class EpsDenoiser(NetDenoiser):
    r"""Noise prediction: :math:`D = x - \sigma F`, as in Make-A-Video's decoder (following DDPM).

    References:
        DDPM (Ho et al., 2020), Equation 14. https://arxiv.org/abs/2006.11239
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the coefficients of noise prediction."""
        return torch.ones_like(sigma), -sigma, (self.sigma_data**2 + sigma.square()).rsqrt()


class FlowDenoiser(NetDenoiser):
    r"""Flow matching on straight paths: the network predicts the velocity :math:`\varepsilon - x_0`.

    The path is :math:`x_t = (1 - t) x_0 + t \varepsilon`. Divided by :math:`1 - t` it is the variance-exploding process
    at :math:`\sigma = t / (1 - t)`; `sigma_data` is not used. `LogitNormalNoise` draws levels for it, and `euler`
    takes equal steps of t.

    References:
        Flow matching (Lipman et al., 2023), Equation 23 with minimum variance 0. https://arxiv.org/abs/2210.02747
        Rectified flow (Liu et al., 2023), Equation 1. https://arxiv.org/abs/2209.03003
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the coefficients of flow matching."""
        signal = 1 / (1 + sigma)  # 1 - t
        return signal, -sigma * signal, signal


class HybridDenoiser(EpsDenoiser):
    r"""Noise prediction with learned variance: the hybrid loss that Make-A-Video names (§3.2).

    The loss is :math:`L_{simple} + \lambda L_{vlb}`: the squared error of the noise, plus the KL divergence of the step
    to the next lower noise level from the true one, in nats per element and times the number of steps, which trains the
    variance only. The noise levels are spaced evenly in :math:`\ln\sigma`; this and the range are our choice.

    References:
        Improved DDPM (Nichol and Dhariwal, 2021), §3.1 and Equations 15 and 16. https://arxiv.org/abs/2102.09672

    Args:
        net: The network, with twice as many output channels as the samples have channels.
        sigma_data: Standard deviation of the data.
        steps: Number of steps from `sigma_max` to `sigma_min`.
        vlb_weight: The weight :math:`\lambda`.
        sigma_min: Lowest noise level.
        sigma_max: Highest noise level.
        frame_correlation: Correlation of the noise of any two frames of a clip.
        noise_offset: Standard deviation of noise that is constant over all pixels and frames of a channel.

    Raises:
        UserError: If an argument is out of range.
    """

    outputs = 2

    @checked
    def __init__(
        self,
        net: Network,
        sigma_data: PositiveFloat = 0.5,
        steps: PositiveInt = 1000,
        vlb_weight: NonNegativeFloat = 0.001,
        sigma_min: PositiveFloat = 0.02,
        sigma_max: PositiveFloat = 80.0,
        frame_correlation: Fraction = 0.0,
        noise_offset: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__(net, sigma_data, frame_correlation, noise_offset)
        if sigma_min >= sigma_max:
            raise UserError(f"must be below sigma_max={sigma_max:g}, got {sigma_min:g}.", argument="sigma_min")
        self.ratio = math.exp(math.log(sigma_min / sigma_max) / steps)
        self.weight = vlb_weight * steps

    def errors(self, x0: Tensor, sigma: Tensor, denoised: Denoised) -> Tensor:
        """Compute the hybrid loss of every element, with the arguments of `NetDenoiser.errors`."""
        assert denoised.variance_fraction is not None  # `outputs` is 2
        sigma_next = sigma * self.ratio
        true = step_variance(sigma, sigma_next, None)
        learned = step_variance(sigma, sigma_next, denoised.variance_fraction)
        mean_error = (1 - self.ratio**2) * (denoised.x0.detach() - x0)  # of the step
        divergence = ((learned / true).log() + (true + mean_error.square()) / learned - 1) / 2
        return super().errors(x0, sigma, denoised) + self.weight * divergence


class X0Denoiser(NetDenoiser):
    """x0 prediction with an unweighted squared error, as in the prior.

    References:
        DALL-E 2 (Ramesh et al., 2022), Equation 2. https://arxiv.org/abs/2204.06125
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the coefficients of x0 prediction."""
        c_in = (self.sigma_data**2 + sigma.square()).rsqrt()
        return torch.zeros_like(sigma), torch.ones_like(sigma), c_in


def _column(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
