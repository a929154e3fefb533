"""Diffusion is tested against Gaussian data, where every answer is known in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import to_uint8
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import EDMDenoiser, EpsDenoiser, FlowDenoiser, NetDenoiser, VDenoiser, X0Denoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import LogitNormalNoise, LogNormalNoise, flow_sigmas, karras_sigmas
from mav_lightning.diffusion.samplers import SAMPLERS, Sampler, ddim, ddpm, dpm_solver_pp_2m, euler, heun
from mav_lightning.nn.base import Network

MEAN, STD = 0.3, 0.5


def gaussian_denoiser(x: Tensor, sigma: Tensor) -> Denoised:
    """The exact denoiser of N(MEAN, STD²) data."""
    variance = sigma.reshape(-1, *[1] * (x.ndim - 1)).square()
    return Denoised(MEAN + STD**2 / (STD**2 + variance) * (x - MEAN))


def exact_sample(noise: Tensor, sigma_max: float) -> Tensor:
    """Where the probability flow of Gaussian data carries σ_max · noise."""
    return MEAN + STD / math.hypot(STD, sigma_max) * (sigma_max * noise - MEAN)


def error(sampler: Sampler, steps: int) -> float:
    noise = SeededNoise(range(4), (2, 3))().double()
    sigmas = karras_sigmas(steps, sigma_min=1e-3, sigma_max=20.0)
    return float((sampler(gaussian_denoiser, lambda: noise, sigmas) - exact_sample(noise, 20.0)).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (euler, 1), (dpm_solver_pp_2m, 2), (heun, 2)])
def test_samplers_converge_to_the_exact_solution_at_their_order(sampler: Sampler, order: int) -> None:
    coarse, fine = error(sampler, 40), error(sampler, 80)
    assert fine < coarse
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.35)


def test_the_second_order_sampler_is_the_better_one_at_few_steps() -> None:
    assert error(dpm_solver_pp_2m, 20) < 0.5 * error(ddim, 20)


def test_the_last_step_lands_on_the_estimate() -> None:
    for sampler in SAMPLERS.values():
        sample = sampler(
            lambda x, sigma: Denoised(torch.full_like(x, 0.25)), lambda: torch.randn(2, 3), karras_sigmas(5)
        )
        torch.testing.assert_close(sample, torch.full((2, 3), 0.25))


def test_ancestral_sampling_converges_to_the_data_distribution_at_first_order() -> None:
    def bias(steps: int) -> float:
        draw = SeededNoise(range(4), (50_000,))
        sigmas = karras_sigmas(steps, sigma_min=1e-3, sigma_max=20.0)
        sample = ddpm(gaussian_denoiser, lambda: draw().double(), sigmas)
        assert float(sample.mean()) == pytest.approx(MEAN, abs=0.01)
        return abs(float(sample.var()) - STD**2)

    coarse, fine = bias(20), bias(80)
    assert math.log(coarse / fine, 4) == pytest.approx(1, abs=0.35)


def test_ancestral_sampling_forgets_where_it_began() -> None:
    sigmas = karras_sigmas(20, sigma_max=20.0)
    begin = torch.zeros(1000)

    def starting(value: float) -> Callable[[], Tensor]:
        fresh = SeededNoise([0], (1000,))
        fixed = [begin + value]
        return lambda: fixed.pop()[None] if fixed else fresh()

    low, high = (ddpm(gaussian_denoiser, starting(value), sigmas) for value in (-1.0, 1.0))
    kept = float(
        (ddim(gaussian_denoiser, starting(1.0), sigmas) - ddim(gaussian_denoiser, starting(-1.0), sigmas)).mean()
    )
    assert float((high - low).mean().abs()) < 0.05 < kept


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


class Recorder(Network):
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
        kept = denoiser(noisy, sigma, torch.zeros(64, 1)).x0
        assert float(net.seen.std()) == pytest.approx(1.0, abs=0.05)
        c_out = level * 0.5 / math.hypot(level, 0.5)
        assert float(((clean - kept) / c_out).std()) == pytest.approx(1.0, abs=0.05)


KINDS: list[type[NetDenoiser]] = [EDMDenoiser, VDenoiser, EpsDenoiser, X0Denoiser, FlowDenoiser]


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_predicts_its_target_gives_the_clean_sample(kind: type[NetDenoiser]) -> None:
    """The targets as their papers define them, in the variance-preserving variables where they do."""
    torch.manual_seed(0)
    clean, eps, sigma = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0.1, 0.5, 1.0, 4.0, 30.0])
    s = sigma[:, None]
    alpha = 1 / (1 + s.square()).sqrt()
    targets = {
        VDenoiser: alpha * eps - s * alpha * clean,
        EpsDenoiser: eps,
        X0Denoiser: clean,
        FlowDenoiser: eps - clean,
        EDMDenoiser: (s.square() * clean - 0.25 * s * eps) / (s * 0.5 * (s.square() + 0.25).sqrt()),
    }
    denoiser = kind(Recorder(lambda _: targets[kind]))
    estimate = denoiser(clean + s * eps, sigma, torch.zeros(5, 1))
    torch.testing.assert_close(estimate.x0, clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_squared_error_of_the_networks_own_target(kind: type[NetDenoiser]) -> None:
    clean, sigma = torch.randn(4, 3, 8, 8), torch.tensor([0.1, 1.0, 4.0, 30.0])
    coefficients = kind(Recorder()).coefficients(sigma.reshape(-1, 1, 1, 1))

    def missing_by(miss: float) -> Tensor:
        c_skip, c_out, c_in = coefficients
        net = Recorder(lambda x: (clean - c_skip * x / c_in) / c_out + miss)
        return kind(net).loss(clean, sigma, torch.zeros(4, 1))

    torch.testing.assert_close(missing_by(0.0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(missing_by(0.1), torch.full((4,), 0.01), rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("kind", [EDMDenoiser, VDenoiser, EpsDenoiser])
def test_the_networks_input_has_unit_variance_at_every_noise_level(kind: type[NetDenoiser]) -> None:
    torch.manual_seed(0)
    for level in (0.01, 1.0, 30.0):
        net = Recorder()
        noisy = (1 + level**2) ** 0.5 * torch.randn(64, 100)
        kind(net, sigma_data=1.0)(noisy, torch.full((64,), level), torch.zeros(64, 1))
        assert float(net.seen.std()) == pytest.approx(1.0, abs=0.03)


def test_the_loss_of_a_silent_network_is_one_at_every_noise_level() -> None:
    torch.manual_seed(0)
    clean = 0.5 * torch.randn(6, 3, 4, 32, 32)
    sigma = torch.tensor([0.01, 0.1, 0.5, 2.0, 10.0, 50.0])
    losses = EDMDenoiser(Recorder()).loss(clean, sigma, torch.zeros(6, 1), torch.ones(6))
    torch.testing.assert_close(losses, torch.ones(6), atol=0.06, rtol=0)


def test_guidance_extrapolates_from_the_unconditional_estimate() -> None:
    def denoiser(
        x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
    ) -> Denoised:
        return Denoised(x + cond[:, :1] * (1 if fps is None else fps[:, None]))

    x, sigma, cond, fps = torch.zeros(2, 3), torch.ones(2), torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 10.0])
    torch.testing.assert_close(Guided(denoiser, 3.0)(x, sigma, cond).x0[:, 0], torch.tensor([3.0, 6.0]))
    torch.testing.assert_close(Guided(denoiser, 3.0)(x, sigma, cond, fps).x0[:, 0], torch.tensor([3.0, 60.0]))
    torch.testing.assert_close(Guided(denoiser, 1.0)(x, sigma, cond).x0, denoiser(x, sigma, cond).x0)


def test_a_clips_noise_depends_on_its_own_seed_alone() -> None:
    together, alone = SeededNoise([3, 7, 11], (3, 2, 4, 4)), SeededNoise([7], (3, 2, 4, 4))
    first, second = together(), together()
    assert torch.equal(first[1], alone()[0]) and torch.equal(second[1], alone()[0])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first, second)


def test_pixels_are_rounded_once_and_cut_off_outside() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).reshape(1, 1, 6, 1, 1).expand(1, 3, 6, 1, 1)
    assert to_uint8(values)[0, :, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]


class GaussianVelocity(Network):
    """The expected velocity of flow matching for N(MEAN, STD²) data, from x_t and ln(σ)/4 alone."""

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        t = torch.sigmoid(4 * noise)[:, None, None]
        variance = ((1 - t) * STD).square() + t.square()
        x0 = MEAN + (1 - t) * STD**2 / variance * (x - (1 - t) * MEAN)
        return (x - x0) / t


def test_flow_matching_with_the_exact_velocity_is_the_exact_denoiser_and_samples_exactly() -> None:
    denoiser, cond = FlowDenoiser(GaussianVelocity()).double(), torch.zeros(4, 1)
    noise = SeededNoise(range(4), (2, 3))().double()
    x, sigma = 3 * noise, torch.tensor([0.01, 0.5, 3.0, 80.0], dtype=torch.float64)

    torch.testing.assert_close(denoiser(x, sigma, cond).x0, gaussian_denoiser(x, sigma).x0)
    sample = euler(lambda x, sigma: denoiser(x, sigma, cond), lambda: noise, karras_sigmas(4000, sigma_max=20.0))
    torch.testing.assert_close(sample, exact_sample(noise, 20.0), atol=2e-3, rtol=0)


def test_eulers_step_in_time_is_that_of_the_straight_path() -> None:
    """x_t + (t' - t) v in the variables of the paper, against one step here."""
    sigmas = flow_sigmas(2, sigma_max=4.0)
    t, t_next = 0.8, 0.4
    torch.testing.assert_close(sigmas, torch.tensor([4.0, t_next / (1 - t_next), 0.0], dtype=torch.float64))
    noise = torch.randn(1, 2, 3, dtype=torch.float64)
    x_t = 4.0 * noise * (1 - t)
    velocity = GaussianVelocity()(x_t, torch.tensor([4.0], dtype=torch.float64).log() / 4, torch.zeros(1, 1))
    expected = (x_t + (t_next - t) * velocity) / (1 - t_next)
    stepped: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        stepped.append(x)
        return gaussian_denoiser(x, sigma)

    euler(denoise, lambda: noise, karras_sigmas(2, sigma_max=4.0))
    torch.testing.assert_close(stepped[1], expected)


def test_a_shift_of_time_keeps_the_ends_and_multiplies_the_levels_between() -> None:
    plain, shifted = flow_sigmas(4, sigma_max=9.0), flow_sigmas(4, sigma_max=9.0, shift=3.0)
    t = shifted / (1 + shifted)
    assert float(shifted[0]) == pytest.approx(9.0) and float(shifted[-1]) == 0.0
    assert (shifted[1:-1] > plain[1:-1]).all()
    unshifted = t / (3 - 2 * t)  # inverse of s t / (1 + (s - 1) t)
    torch.testing.assert_close(unshifted.diff(), unshifted.diff()[:1].expand(4))
    with pytest.raises(ValueError, match="needs steps ≥ 1, sigma_max > 0 and shift > 0, got 4, 9.0, 0.0"):
        flow_sigmas(4, 9.0, 0.0)


def test_logit_normal_levels_have_their_mean_spread_and_shift() -> None:
    torch.manual_seed(0)
    logits = LogitNormalNoise(mean=0.5, std=0.8, shift=3.0)(20_000).log()
    assert float(logits.mean()) == pytest.approx(0.5 + math.log(3.0), abs=0.03)
    assert float(logits.std()) == pytest.approx(0.8, abs=0.03)
    with pytest.raises(UserError, match="shift: must be .*above 0.*, got 0.0"):
        LogitNormalNoise(shift=0.0)
