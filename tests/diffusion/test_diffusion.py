"""Diffusion is tested against Gaussian data, where every answer is known in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import seeded_noise
from mav_lightning.diffusion.pixels import to_uint8
from mav_lightning.diffusion.samplers import Sampler, ddim, dpm_solver_pp_2m
from mav_lightning.diffusion.schedule import LogNormalNoise, karras_sigmas

MEAN, STD = 0.3, 0.5


def gaussian_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact denoiser of N(MEAN, STD²) data."""
    variance = sigma.reshape(-1, *[1] * (x.ndim - 1)).square()
    return MEAN + STD**2 / (STD**2 + variance) * (x - MEAN)


def exact_sample(noise: Tensor, sigma_max: float) -> Tensor:
    """Where the probability flow of Gaussian data carries σ_max · noise."""
    return MEAN + STD / math.hypot(STD, sigma_max) * (sigma_max * noise - MEAN)


def error(sampler: Sampler, steps: int) -> float:
    noise = seeded_noise(range(4), (2, 3)).double()
    sigmas = karras_sigmas(steps, sigma_min=1e-3, sigma_max=20.0)
    return float((sampler(gaussian_denoiser, noise, sigmas) - exact_sample(noise, 20.0)).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpm_solver_pp_2m, 2)])
def test_samplers_converge_to_the_exact_solution_at_their_order(sampler: Sampler, order: int) -> None:
    coarse, fine = error(sampler, 40), error(sampler, 80)
    assert fine < coarse
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.35)


def test_the_second_order_sampler_is_the_better_one_at_few_steps() -> None:
    assert error(dpm_solver_pp_2m, 20) < 0.5 * error(ddim, 20)


def test_the_last_step_lands_on_the_estimate() -> None:
    for sampler in (ddim, dpm_solver_pp_2m):
        sample = sampler(lambda x, sigma: torch.full_like(x, 0.25), torch.randn(2, 3), karras_sigmas(5))
        torch.testing.assert_close(sample, torch.full((2, 3), 0.25))


def test_noise_levels_fall_from_the_first_to_zero() -> None:
    sigmas = karras_sigmas(10, sigma_min=0.02, sigma_max=80.0)
    assert sigmas[0] == pytest.approx(80.0) and sigmas[-2] == pytest.approx(0.02) and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="needs steps ≥ 2 and 0 < sigma_min < sigma_max, got 1"):
        karras_sigmas(1)


def test_training_noise_has_the_promised_logarithm() -> None:
    torch.manual_seed(0)
    logs = LogNormalNoise(mean=0.5, std=1.2)(20_000).log()
    assert float(logs.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.03)


class Recorder(nn.Module):
    """A network that keeps its inputs and answers with zeros, or with what it is told."""

    def __init__(self, answer: Callable[[Tensor], Tensor] = torch.zeros_like) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        self.seen = x
        return self.answer(x)


def test_preconditioning_keeps_input_and_target_at_unit_variance() -> None:
    torch.manual_seed(0)
    for level in (0.01, 0.5, 30.0):
        net = Recorder()
        denoiser = EDMDenoiser(net, sigma_data=0.5)
        clean, sigma = 0.5 * torch.randn(64, 3, 8, 8), torch.full((64,), level)
        noisy = clean + level * torch.randn_like(clean)
        kept = denoiser(noisy, sigma, torch.zeros(64, 1))
        assert float(net.seen.std()) == pytest.approx(1.0, abs=0.05)
        c_out = level * 0.5 / math.hypot(level, 0.5)
        assert float(((clean - kept) / c_out).std()) == pytest.approx(1.0, abs=0.05)


def test_the_loss_of_a_silent_network_is_one_at_every_noise_level() -> None:
    torch.manual_seed(0)
    clean = 0.5 * torch.randn(6, 3, 4, 32, 32)
    sigma = torch.tensor([0.01, 0.1, 0.5, 2.0, 10.0, 50.0])
    losses = EDMDenoiser(Recorder()).loss(clean, sigma, torch.zeros(6, 1), torch.ones(6))
    torch.testing.assert_close(losses, torch.ones(6), atol=0.06, rtol=0)


def test_guidance_extrapolates_from_the_unconditional_estimate() -> None:
    def denoiser(x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        return x + cond[:, :1] * (1 if fps is None else fps[:, None])

    x, sigma, cond, fps = torch.zeros(2, 3), torch.ones(2), torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 10.0])
    torch.testing.assert_close(Guided(denoiser, 3.0)(x, sigma, cond)[:, 0], torch.tensor([3.0, 6.0]))
    torch.testing.assert_close(Guided(denoiser, 3.0)(x, sigma, cond, fps)[:, 0], torch.tensor([3.0, 60.0]))
    torch.testing.assert_close(Guided(denoiser, 1.0)(x, sigma, cond), denoiser(x, sigma, cond))


def test_a_clips_noise_depends_on_its_own_seed_alone() -> None:
    together = seeded_noise([3, 7, 11], (3, 2, 4, 4))
    assert torch.equal(together[1], seeded_noise([7], (3, 2, 4, 4))[0])
    assert not torch.equal(together[0], together[1])


def test_pixels_are_rounded_once_and_cut_off_outside() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).reshape(1, 1, 6, 1, 1).expand(1, 3, 6, 1, 1)
    assert to_uint8(values)[0, :, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]
