"""Mixtures of datasets: exact shares, the same on any ranks and workers, and resumable by integers."""

import json
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import StopAfter, fit

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.index import build_index
from datamodules.mixture import MixtureOrder
from datamodules.sources import WeightedDataset
from mav_lightning.common.errors import UserError
from mav_lightning.training.description import describe_data


def counts(order: MixtureOrder, steps: int) -> list[int]:
    """How often each dataset was taken in the first steps."""
    ends = [sum(order.sizes[: number + 1]) for number in range(len(order.sizes))]
    taken = [0] * len(ends)
    for draw in chain.from_iterable(order.batch(step) for step in range(steps)):
        taken[next(number for number, end in enumerate(ends) if draw.number < end)] += 1
    return taken


def test_after_a_period_the_shares_are_exactly_the_weights() -> None:
    order = MixtureOrder(sizes=(7, 30, 3), weights=(0.5, 0.3, 0.2), batch_size=10, seed=0)
    assert order.block == 10
    for periods in (1, 7, 100):
        assert counts(order, periods) == [5 * periods, 3 * periods, 2 * periods]


@pytest.mark.parametrize("weights", [(1.0, 3.0), (0.1, 0.7, 0.2), (1e-3, 1.0), (3.14159, 2.71828, 1.41421, 0.5)])
def test_after_every_block_a_share_differs_by_at_most_one(weights: tuple[float, ...]) -> None:
    order = MixtureOrder(tuple(range(11, 11 + len(weights))), weights, batch_size=1, seed=3)
    for blocks in (1, 2, 3):
        places = blocks * order.block
        for taken, weight in zip(counts(order, places), weights, strict=True):
            assert abs(taken - places * weight / sum(weights)) <= 1


def test_each_dataset_is_read_in_passes_of_its_own() -> None:
    order = MixtureOrder(sizes=(4, 6), weights=(2.0, 1.0), batch_size=3, seed=1)
    draws = [draw for step in range(24) for draw in order.batch(step)]
    for first, size in ((0, 4), (4, 6)):
        mine = [draw for draw in draws if first <= draw.number < first + size]
        passes = [mine[start : start + size] for start in range(0, len(mine) // size * size, size)]
        assert len(passes) >= 4
        for epoch, one_pass in enumerate(passes):
            assert {draw.epoch for draw in one_pass} == {epoch}
            assert {draw.number for draw in one_pass} == set(range(first, first + size))
        assert len({tuple(draw.number for draw in one_pass) for one_pass in passes}) > 1


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_see_together_what_one_rank_sees(world: int) -> None:
    alone = MixtureOrder((9, 21), (0.8, 0.2), batch_size=4, seed=5)
    ranks = [MixtureOrder((9, 21), (0.8, 0.2), 4 // world, 5, rank, world) for rank in range(world)]
    assert {len(order) for order in ranks} == {len(alone)}
    for step in (*range(20), 10**9):
        assert [draw for order in ranks for draw in order.batch(step)] == alone.batch(step)


def test_another_seed_is_another_order() -> None:
    first, second = (MixtureOrder((50, 50), (1.0, 1.0), 20, seed).batch(0) for seed in (0, 1))
    assert first != second


def test_too_few_samples_are_reported() -> None:
    with pytest.raises(UserError, match="5 usable training samples do not fill one step of 6"):
        MixtureOrder((2, 3), (1.0, 1.0), batch_size=6, seed=0)


def test_a_weight_that_would_hardly_ever_count_is_rejected() -> None:
    assert MixtureOrder((2, 3), (1e-6, 1 - 1e-6), batch_size=1, seed=0).block == 2_000_000
    with pytest.raises(UserError, match="root: weights: 1e-07 is less than a millionth of their sum, 1; raise it"):
        MixtureOrder((2, 3), (1e-7, 1.0), batch_size=1, seed=0)


@pytest.fixture
def parts(make_shard: Callable[..., Path], make_mp4: Callable[..., bytes], tmp_path: Path) -> dict[str, Any]:
    """Two datasets of 4 and 6 clips whose keys are equal; those of `b` have a score."""
    for name, number, frames in (("a", 4, 30), ("b", 6, 40)):
        members = [
            (f"{key}.{suffix}", data)
            for key in range(number)
            for suffix, data in (("mp4", make_mp4(frames + key)), ("json", json.dumps({"score": key}).encode()))
        ]
        (tmp_path / name).mkdir()
        build_index(make_shard(members, f"{name}/train").parent)
    val = [
        (f"{key}.{suffix}", data)
        for key in (0, 1)
        for suffix, data in (("mp4", make_mp4(35)), ("json", b'{"score": 9}'))
    ]
    build_index(make_shard(val, "b/val").parent)
    return {"a": {"path": str(tmp_path / "a"), "weight": 3}, "b": {"path": str(tmp_path / "b"), "weight": 1}}


def clips(root: Any, **options: Any) -> ClipData:
    return ClipData(root, 8, 5, UniformFps(4, 16), **{"batch_size": 2} | options)


def stream(data: ClipData, batches: int) -> list[ClipBatch]:
    loader = data.train_dataloader()
    return list(islice(chain.from_iterable(iter(loader) for _ in range(1000)), batches))


def test_keys_start_with_the_name_and_come_by_weight(parts: dict[str, Any]) -> None:
    keys = [key for batch in stream(clips(parts), 16) for key in batch.key]
    assert sum(key.startswith("a/") for key in keys) == 24 and sum(key.startswith("b/") for key in keys) == 8
    assert set(keys[:8]) <= {f"a/{key}" for key in range(4)} | {f"b/{key}" for key in range(6)}


def test_the_order_of_the_names_and_the_scale_of_the_weights_do_not_matter(parts: dict[str, Any]) -> None:
    swapped = {name: WeightedDataset(Path(parts[name]["path"]), parts[name]["weight"] / 4) for name in ("b", "a")}
    for one, other in zip(stream(clips(parts), 8), stream(clips(swapped), 8), strict=True):
        assert one.key == other.key and torch.equal(one.pixels, other.pixels) and torch.equal(one.fps, other.fps)


@pytest.mark.parametrize("options", [{"workers": 2}, {"cache_mb": 8}], ids=str)
def test_workers_and_caches_change_nothing(parts: dict[str, Any], options: dict[str, Any]) -> None:
    for one, other in zip(stream(clips(parts), 12), stream(clips(parts, **options), 12), strict=True):
        assert one.key == other.key and torch.equal(one.pixels, other.pixels) and torch.equal(one.fps, other.fps)


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_training_resumes_with_the_same_bits(parts: dict[str, Any], tmp_path: Path, stop: int) -> None:
    whole = fit(clips(parts), 12)  # a pass has five steps
    before = fit(clips(parts), 12, StopAfter(stop, tmp_path / "x.ckpt"))
    after = fit(clips(parts), 12, ckpt_path=tmp_path / "x.ckpt")
    assert len(before.shown) == stop and before.shown + after.shown == whole.shown


def test_the_state_is_one_integer_and_rejects_other_weights(parts: dict[str, Any]) -> None:
    state = clips(parts).train_dataloader().state_dict()
    assert state["step"] == 0 and state.keys() == {"step", "index_sha256", "seed", "global_batch_size"}
    parts["a"]["weight"] = 2
    with pytest.raises(UserError, match="index_sha256: the checkpoint was made with"):
        clips(parts).train_dataloader().load_state_dict(state)


def test_names_weights_conditions_and_contents_are_part_of_the_identity(parts: dict[str, Any]) -> None:
    a, b = parts["a"], parts["b"]
    mixtures = [
        parts,
        {"a": {**a, "weight": 2}, "b": b},
        {"c": a, "b": b},
        {"a": {**a, "path": b["path"], "where": "score > 1"}, "b": b},
        {"a": {**a, "where": "score > 0"}, "b": b},
        {"a": a},
    ]
    roots = [describe_data(clips(mixture))["root"] for mixture in mixtures]
    assert len(set(roots)) == len(roots) and all(root.startswith("sha256 ") for root in roots)
    assert describe_data(clips({"b": b, "a": a}))["root"] == roots[0]


def test_a_condition_belongs_to_one_dataset(parts: dict[str, Any]) -> None:
    parts["b"]["where"] = "score >= 3"
    keys = {key for batch in stream(clips(parts), 20) for key in batch.key}
    assert keys == {f"a/{key}" for key in range(4)} | {"b/3", "b/4", "b/5"}


def test_validation_takes_every_sample_of_all_datasets_once(parts: dict[str, Any]) -> None:
    loader = clips(parts).val_dataloader()
    assert [key for batch in loader for key in batch.key] == ["b/0", "b/1"]
    assert clips({"a": parts["a"]}).val_dataloader() == []


def test_images_are_mixed_too(shapes: Path, parts: dict[str, Any]) -> None:
    data = ImageData({"shapes": {"path": str(shapes), "weight": 1.0}}, 8, batch_size=4)  # type: ignore[dict-item]
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, ImageBatch) and all(key.startswith("shapes/") for key in batch.key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": {"weight": 0}}, r"root\.a\.weight: must be a finite number above 0, got 0"),
        ({"a": {"weight": -1.5}}, r"root\.a\.weight: must be a finite number above 0, got -1.5"),
        ({"a": {"weight": float("inf")}}, r"root\.a\.weight: must be a finite number"),
        ({"a": {"wieght": 2}}, r"root\.a\.wieght: .* has no argument `wieght`.*Did you mean `weight`"),
        ({"a": {"where": "score >"}}, r"root\.a\.where: position .*cannot be read"),
    ],
)
def test_mistakes_are_named_with_their_place(parts: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        clips({name: part | change.get(name, {}) for name, part in parts.items()})


def test_mixtures_without_a_meaning_are_rejected(parts: dict[str, Any], tmp_path: Path) -> None:
    a, b = parts["a"], parts["b"]
    with pytest.raises(UserError, match="root: names no dataset"):
        clips({})
    with pytest.raises(UserError, match="root: `a/b` cannot name a dataset"):
        clips({"a/b": a})
    with pytest.raises(UserError, match="root: `a` and `c` hold the same samples; name them once"):
        clips({"a": a, "b": b, "c": a}).setup("fit")
    with pytest.raises(UserError, match="holds neither `clips/train` nor `train`"):
        clips({"a": a, "c": {"path": str(tmp_path / "nowhere"), "weight": 1}}).setup("fit")
    with pytest.raises(UserError, match="where: has no effect on a mixture; give each dataset its own"):
        clips(parts, where="score > 1")
    with pytest.raises(UserError, match="root: several datasets need an index"):
        clips(parts, reader="streaming")
