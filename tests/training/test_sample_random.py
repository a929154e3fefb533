"""Draws by sample: rows depend on the sample alone, and look as PyTorch's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.training.sample_random import SampleRandom, batch_sizes

DRAWS: dict[str, Callable[[int], Tensor]] = {
    "randn": lambda n: torch.randn(n, 3),
    "randn of a size": lambda n: torch.randn((n, 3), dtype=torch.float64),
    "rand": lambda n: torch.rand(n, 1),
    "many values": lambda n: torch.randn(n, 3, 40, 20),
    "many uniform values": lambda n: torch.rand(n, 3, 40, 20),
    "randint": lambda n: torch.randint(7, (n,)),
    "randint from": lambda n: torch.randint(3, 9, size=(n, 2)),
    "like": lambda n: torch.randn_like(torch.zeros(n, 5)),
    "frames folded into the batch": lambda n: torch.rand_like(torch.zeros(n * 3, 5)),
    "as many channels as samples": lambda n: torch.rand_like(torch.zeros(n * 3, 4)),
    "samples along another dimension": lambda n: torch.randn(11, n, 2).movedim(1, 0),
    "normal_": lambda n: torch.empty(n, 4).normal_(2.0, 3.0),
    "uniform_": lambda n: torch.empty(n, 4).uniform_(-1, 1),
    "exponential_": lambda n: torch.empty(n, 4).exponential_(2.0),
    "bernoulli_": lambda n: torch.empty(n, 40).bernoulli_(0.3),
    "bernoulli": lambda n: torch.bernoulli(torch.full((n, 40), 0.3)),
    "dropout": lambda n: F.dropout(torch.ones(n, 40), 0.3),
    "dropout in place": lambda n: F.dropout(torch.ones(n, 40), 0.3, inplace=True),
    "channel dropout": lambda n: F.dropout2d(torch.ones(n, 20, 2, 2), 0.3),
    "dropout layer": lambda n: nn.Dropout(0.3)(torch.ones(n, 40)),
}


def drawn(draw: Callable[[int], Tensor], numbers: list[int], seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    mode = SampleRandom()
    mode.set_samples({len(numbers): np.array(numbers, np.uint64)})
    with mode:
        return draw(len(numbers))


@pytest.mark.parametrize("name", DRAWS)
def test_a_row_depends_on_its_sample_alone(name: str) -> None:
    draw = DRAWS[name]
    whole = drawn(draw, list(range(4)))
    halves = torch.cat([drawn(draw, [0, 1]), drawn(draw, [2, 3])])
    single = drawn(draw, [3])
    assert torch.equal(whole, halves)
    assert torch.equal(whole.unflatten(0, (4, -1))[3], single)
    assert not torch.equal(whole, drawn(draw, list(range(4)), seed=1))


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (lambda n: torch.randn(n, 5), 0.0, 1.0),
        (lambda n: torch.randn(n, 2000), 0.0, 1.0),
        (lambda n: torch.rand(n, 5), 0.5, 12**-0.5),
        (lambda n: torch.empty(n, 5).normal_(2.0, 3.0), 2.0, 3.0),
        (lambda n: torch.empty(n, 5).exponential_(2.0), 0.5, 0.5),
        (lambda n: torch.randint(10, (n, 5)).float(), 4.5, 8.25**0.5),
        (lambda n: F.dropout(torch.ones(n, 5), 0.25), 1.0, 3**-0.5),
    ],
)
def test_draws_have_the_distribution_they_are_named_after(draw: Any, mean: float, std: float) -> None:
    values = drawn(draw, list(range(4000))).double()
    assert abs(float(values.mean()) - mean) < 4 * std / len(values) ** 0.5
    assert abs(float(values.std()) - std) < 0.05 * std
    neighbors = torch.corrcoef(torch.stack([values[1:, 0], values[:-1, 0], values[1:, 1]]))
    assert (neighbors - torch.eye(3)).abs().max() < 0.06


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda n: torch.randint(7, (n,)), 0, 7),
        (lambda n: torch.randint(7, size=(n,)), 0, 7),
        (lambda n: torch.randint(high=7, size=(n,)), 0, 7),
        (lambda n: torch.randint(3, 9, (n,)), 3, 9),
        (lambda n: torch.randint(3, 9, size=(n,)), 3, 9),
        (lambda n: torch.randint(3, high=9, size=(n,)), 3, 9),
        (lambda n: torch.randint(low=3, high=9, size=(n,), generator=None), 3, 9),
        (lambda n: torch.randint(-5, 0, (n,)), -5, 0),
    ],
)
def test_whole_numbers_keep_to_their_bounds_however_these_are_given(
    draw: Callable[[int], Tensor], low: int, high: int
) -> None:
    values = drawn(draw, list(range(400)))
    assert values.dtype == torch.int64
    assert values.unique().tolist() == list(range(low, high))
    assert torch.equal(values[200:], drawn(draw, list(range(200, 400))))


def test_normal_noise_is_normal() -> None:
    values = drawn(lambda n: torch.randn(n, 5), list(range(4000))).flatten().sort().values
    expected = torch.special.ndtri((torch.arange(20000) + 0.5) / 20000)
    assert (values - expected)[200:-200].abs().max() < 0.1


def test_two_draws_in_a_row_differ() -> None:
    one, other = drawn(lambda n: torch.stack([torch.randn(n, 3), torch.randn(n, 3)]), [0, 1])
    assert not torch.equal(one, other)


def test_other_draws_and_given_generators_are_those_of_torch() -> None:
    def others(n: int) -> list[Tensor]:
        return [torch.randn(7), torch.rand(()), torch.randn(n, 2, generator=torch.Generator().manual_seed(3))]

    torch.manual_seed(0)
    plain = others(4)
    torch.manual_seed(0)
    mode = SampleRandom()
    mode.set_samples({4: np.arange(4, dtype=np.uint64)})
    with mode:
        assert all(torch.equal(one, other) for one, other in zip(others(4), plain, strict=True))
        assert torch.equal(nn.Dropout(0.3).eval()(torch.ones(4, 2)), torch.ones(4, 2))


def test_recomputed_activations_draw_the_same() -> None:
    layer = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 1))
    x = torch.randn(4, 6, requires_grad=True)

    def gradients(recompute: bool) -> list[Tensor]:
        def step(n: int) -> Tensor:
            layer.zero_grad()
            (checkpoint(layer, x, use_reentrant=False) if recompute else layer(x)).sum().backward()
            return torch.stack([weight.grad.clone().sum() for weight in layer.parameters()])

        return list(drawn(step, list(range(4))))

    assert torch.equal(torch.stack(gradients(True)), torch.stack(gradients(False)))


def test_sizes_are_those_of_every_kind_of_sample() -> None:
    clips = ClipBatch(torch.zeros(2, 3, 4, 8, 8), torch.ones(2), ["a", "b"])
    images = ImageBatch(torch.zeros(5, 3, 8, 8), None, list("abcde"))
    assert batch_sizes(clips) == [2] and batch_sizes(JointBatch(clips, images)) == [2, 5]
    assert batch_sizes([torch.zeros(3, 1), {"y": torch.zeros(3)}]) == [3] and batch_sizes("text") == []
