"""The learnt variance, tested where every answer is known: on Gaussian data."""

import math

import pytest
import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate, load_config
from mav_lightning.diffusion.denoised import Denoised, step_variance
from mav_lightning.diffusion.denoiser import HybridDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.masks import MaskedDenoiser, MaskedFrames, first
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import ddpm
from mav_lightning.diffusion.windows import SlidingDenoiser
from mav_lightning.nn.base import Network

STD = 0.5


def posterior(sigma: Tensor) -> Tensor:
    """Variance of N(0, STD²) data once seen at noise `sigma`."""
    return STD**2 * sigma**2 / (STD**2 + sigma**2)


def exact_share(sigma: Tensor, following: Tensor) -> Tensor:
    """Where the true variance of a step lies between the two bounds."""
    low, high = (step_variance(sigma, following, torch.tensor(share)) for share in (0.0, 1.0))
    true = low + (1 - (following / sigma) ** 2) ** 2 * posterior(sigma)
    return (true / low).log() / (high / low).log()


def test_the_bounds_are_those_of_ddpm() -> None:
    """In DDPM's variables: the variance of x_{t-1} is β̃_t or β_t, and x is scaled by the root of ᾱ."""
    sigma, following = torch.tensor([0.05, 1.0, 60.0]).double(), torch.tensor([0.03, 0.5, 59.0]).double()
    bar, bar_before = 1 / (1 + sigma**2), 1 / (1 + following**2)
    beta = 1 - bar / bar_before
    tilde = (1 - bar_before) / (1 - bar) * beta
    for share, variance in ((torch.zeros(3), tilde), (torch.ones(3), beta), (None, tilde)):
        torch.testing.assert_close(step_variance(sigma, following, share), variance / bar_before)


def test_with_the_true_variance_a_few_ancestral_steps_give_the_data_exactly() -> None:
    levels = karras_sigmas(6, sigma_min=0.01, sigma_max=30.0)
    after = dict(zip(levels[:-1].tolist(), levels[1:], strict=True))

    def variance(learnt: bool) -> float:
        def denoise(x: Tensor, sigma: Tensor) -> Denoised:
            level = sigma[:1]
            following = after[float(level)]
            share = exact_share(level, following).expand_as(x) if learnt and following > 0 else None
            return Denoised(STD**2 / (STD**2 + level**2) * x, share)

        draw = SeededNoise(range(4), (50_000,))
        return float(ddpm(denoise, lambda: draw().double(), levels).var())

    assert variance(learnt=True) == pytest.approx(STD**2, rel=0.015)
    assert variance(learnt=False) < 0.8 * STD**2


class Exact(Network):
    """Knows the noise of N(0, STD²) data, and believes one v of all steps."""

    def __init__(self, v: float = 0.0) -> None:
        super().__init__()
        self.v, self.offset = nn.Parameter(torch.tensor(v)), nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        sigma = (4 * noise[:, None]).exp()
        noisy = x * (STD**2 + sigma**2).sqrt()
        eps = noisy * sigma / (STD**2 + sigma**2) + self.offset
        return torch.cat([eps, self.v.expand_as(eps)], dim=1)


@pytest.mark.parametrize("level", [0.3, 1.0, 4.0])
def test_the_loss_is_least_at_the_true_variance(level: float) -> None:
    torch.manual_seed(0)
    net = Exact()
    denoiser = HybridDenoiser(net, steps=10, vlb_weight=1.0)
    clean, sigma = STD * torch.randn(400, 100), torch.full((400,), level)
    descent = torch.optim.LBFGS([net.v], line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        descent.zero_grad()
        torch.manual_seed(1)
        loss = denoiser.loss(clean, sigma, torch.zeros(400, 1)).mean()
        loss.backward()
        return loss

    descent.step(closure)
    wanted = exact_share(torch.tensor(level), torch.tensor(level) * denoiser.ratio)
    assert float((net.v.detach() + 1) / 2) == pytest.approx(float(wanted), abs=0.02)


def test_the_variances_term_leaves_the_mean_alone() -> None:
    gradients = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        net = Exact(v=0.7)
        HybridDenoiser(net, vlb_weight=weight).loss(
            torch.randn(8, 5), torch.rand(8) + 0.1, torch.zeros(8, 1)
        ).sum().backward()
        gradients[weight] = (float(net.offset.grad), float(net.v.grad))
    assert gradients[0.0][0] == pytest.approx(gradients[10.0][0]) != 0
    assert gradients[0.0][1] == 0 != gradients[10.0][1]


def test_the_divergence_is_that_of_two_gaussians() -> None:
    level, x, clean = torch.tensor([[0.8]]), torch.tensor([[0.1]]), torch.tensor([[0.4]])
    denoiser = HybridDenoiser(nn.Identity(), steps=20, vlb_weight=1.0)
    share = torch.tensor([[0.6]])
    found = denoiser.errors(x, level, Denoised(clean, share)) - (clean - x) ** 2 / level**2
    following = level * denoiser.ratio
    keep = denoiser.ratio**2
    true, told = (step_variance(level, following, s).sqrt() for s in (torch.zeros(1, 1), share))
    means = [keep * x + (1 - keep) * estimate for estimate in (x, clean)]
    gaussians = [torch.distributions.Normal(*pair) for pair in zip(means, (true, told), strict=True)]
    torch.testing.assert_close(found, 20 * torch.distributions.kl_divergence(*gaussians), rtol=1e-4, atol=1e-4)


def told(
    x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
) -> Denoised:
    """Says of every element what its condition says."""
    column = cond[:, :1].reshape(-1, *[1] * (x.ndim - 1))
    return Denoised(x + column, column.expand_as(x))


def test_a_learnt_variance_passes_through_guidance_windows_and_known_frames() -> None:
    clips, sigma, cond = torch.zeros(2, 3, 7, 4, 4), torch.ones(2), torch.tensor([[0.2], [0.9]])
    wanted = cond[:, :, None, None, None].expand_as(clips)
    known = MaskedFrames(clips, first(2, 7).expand(2, -1))
    for wrapped in (Guided(told, 3.0), SlidingDenoiser(told, frames=3, overlap=1), MaskedDenoiser(told, known)):
        share = wrapped(clips, sigma, cond).variance_fraction
        assert share is not None
        torch.testing.assert_close(share, wanted)


def test_a_stage_takes_it_by_two_overrides() -> None:
    target = "mav_lightning.diffusion.denoiser.HybridDenoiser"
    words = [
        f"module.denoiser._target_={target}",
        "module.denoiser.net.out_channels=6",
    ]
    denoiser = instantiate(load_config("stage/temporal_tiny.yaml", words)["module"]["denoiser"])
    x = torch.zeros(1, 3, 3, 16, 16)
    found = denoiser(x, torch.ones(1), torch.zeros(1, 64), torch.ones(1))
    assert found.x0.shape == found.variance_fraction.shape == x.shape
    assert math.isfinite(denoiser.loss(x, torch.ones(1), torch.zeros(1, 64), torch.ones(1)).item())


def test_an_impossible_ladder_is_refused() -> None:
    with pytest.raises(UserError, match="steps: must be .*, got 0"):
        HybridDenoiser(Exact(), steps=0)
    with pytest.raises(UserError, match="sigma_min: must be below sigma_max=1, got 2"):
        HybridDenoiser(Exact(), sigma_min=2.0, sigma_max=1.0)
