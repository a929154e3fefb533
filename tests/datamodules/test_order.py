import pytest

from datamodules.order import EvalOrder, TrainOrder, sample_rng
from mav_lightning.common.errors import UserError


def test_a_pass_shows_every_sample_at_most_once_and_each_pass_another_order() -> None:
    order = TrainOrder(samples=25, batch_size=4, seed=3)

    passes = [[number for step in range(6 * e, 6 * e + 6) for _, number in order.batch(step)] for e in range(2)]

    assert len(order) == 6
    assert all(len(set(shown)) == 24 for shown in passes)
    assert passes[0] != passes[1]
    assert [{epoch for epoch, _ in order.batch(step)} for step in (5, 6)] == [{0}, {1}]


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_with_smaller_batches_see_together_what_one_rank_sees(world: int) -> None:
    alone = TrainOrder(samples=50, batch_size=8, seed=1)
    ranks = [TrainOrder(50, 8 // world, 1, rank, world) for rank in range(world)]

    assert {len(order) for order in ranks} == {len(alone)}
    for step in range(2 * len(alone)):
        together = [number for order in ranks for _, number in order.batch(step)]
        assert together == [number for _, number in alone.batch(step)]


@pytest.mark.parametrize("samples", [6, 7, 9, 16, 23])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_shows_every_sample_exactly_once_in_equally_many_steps(samples: int, world: int) -> None:
    orders = [EvalOrder(samples, 4, rank, world) for rank in range(world)]

    batches = [[number for _, number in order.batch(step)] for order in orders for step in range(len(order))]

    assert sorted(number for batch in batches for number in batch) == list(range(samples))
    assert all(1 <= len(batch) <= 4 for batch in batches)
    assert len({len(order) for order in orders}) == 1


def test_advice_on_too_few_samples_works() -> None:
    with pytest.raises(UserError, match="7 usable training samples .* set batch_size to at most 3"):
        TrainOrder(samples=7, batch_size=4, seed=0, world=2)
    assert len(TrainOrder(samples=7, batch_size=3, seed=0, world=2)) == 1

    with pytest.raises(UserError, match="1 usable training samples for 2 processes; use fewer"):
        TrainOrder(samples=1, batch_size=1, seed=0, world=2)

    with pytest.raises(UserError, match="3 usable validation samples .* set batch_size=2 or more"):
        EvalOrder(samples=3, batch_size=1, world=2)
    assert len(EvalOrder(samples=3, batch_size=2, world=2)) == 1


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_sizes_and_seeds_out_of_range_are_refused(batch_size: int) -> None:
    with pytest.raises(UserError, match=f"batch_size: must be 1 or more, got {batch_size}"):
        TrainOrder(10, batch_size, seed=0)
    with pytest.raises(UserError, match="seed: must be 0 or more, got -1"):
        TrainOrder(10, 1, seed=-1)


def test_a_samples_generator_hangs_on_seed_epoch_and_key_alone() -> None:
    draws = {sample_rng(*place).uniform() for place in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]}

    assert len(draws) == 4
    assert sample_rng(0, 0, "a").uniform() in draws
