import logging
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.batch import ClipBatch
from datamodules.decoders import ClipDecoder
from datamodules.fps_sampler import BetaFps, UniformFps
from datamodules.index import build_index, load_index
from datamodules.order import EvalOrder, TrainOrder
from datamodules.reader import EvalLoader, TrainLoader
from datamodules.sample_reader import SampleReader
from mav_lightning.common.errors import UserError


def reader(folder: Path, **options: int) -> SampleReader[ClipBatch]:
    return SampleReader(load_index(folder), ClipDecoder(8, 5, UniformFps(4, 16)), seed=0, **options)


def train(folder: Path, batch_size: int = 3, seed: int = 0, world: int = 1, workers: int = 0) -> TrainLoader[ClipBatch]:
    return TrainLoader(reader(folder), TrainOrder(12, batch_size, seed, 0, world), workers)


def damage(folder: Path, *keys: str) -> None:
    """Flips a byte in the videos of those samples, after they were indexed."""
    for shard, sample in load_index(folder):
        if sample.key in keys:
            data = bytearray((folder / shard.name).read_bytes())
            data[sample.members["mp4"].offset] ^= 255
            (folder / shard.name).write_bytes(data)


def assert_same(got: list[ClipBatch], wanted: list[ClipBatch]) -> None:
    assert [batch.key for batch in got] == [batch.key for batch in wanted]
    for one, other in zip(got, wanted, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.fps, other.fps)


def endless(loader: TrainLoader[ClipBatch]) -> chain[ClipBatch]:
    """Passes one after the other, as Lightning asks for them."""
    return chain.from_iterable(iter(loader) for _ in range(1000))


def test_batches_are_the_same_for_any_number_of_workers(clip_folder: Path) -> None:
    alone, helped, crowded = (list(islice(endless(train(clip_folder, workers=workers)), 9)) for workers in (0, 2, 4))

    assert_same(helped, alone)
    assert_same(crowded, alone)  # more workers than shards
    assert alone[0].key != alone[4].key  # the second pass has another order


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_continues_with_the_next_batch(clip_folder: Path, stop: int, workers: int) -> None:
    whole = list(islice(endless(train(clip_folder)), 10))
    interrupted, resumed = (train(clip_folder, workers=workers) for _ in range(2))
    before = list(islice(endless(interrupted), stop))

    resumed.load_state_dict(interrupted.state_dict())

    assert_same(before + list(islice(endless(resumed), 10 - stop)), whole)


def test_state_taken_at_the_last_batch_of_a_pass_starts_the_next_pass(clip_folder: Path) -> None:
    loader = train(clip_folder)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)  # and never asks for the end, like Lightning

    assert loader.state_dict()["step"] == 4
    assert len(list(loader)) == 4


def test_a_checkpoint_of_other_data_is_refused(clip_folder: Path) -> None:
    state = train(clip_folder).state_dict()

    train(clip_folder, batch_size=1, world=3).load_state_dict(state)  # the same batches over three ranks
    with pytest.raises(UserError, match="global_batch_size: the checkpoint was made with 3, the data now has 4"):
        train(clip_folder, batch_size=4).load_state_dict(state)
    with pytest.raises(UserError, match="seed: the checkpoint was made with 0, the data now has 7"):
        train(clip_folder, seed=7).load_state_dict(state)
    (clip_folder / "00001.tar").rename(clip_folder / "00000.tar")
    build_index(clip_folder)
    with pytest.raises(UserError, match="index_sha256: .* restore it, or start a new run in another folder"):
        TrainLoader(reader(clip_folder), TrainOrder(6, 3, 0)).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_is_named_and_replaced_by_the_next_good_one(
    clip_folder: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    damage(clip_folder, "0-2", "0-3")
    loader = EvalLoader(reader(clip_folder), EvalOrder(12, 4), workers)

    with caplog.at_level(logging.WARNING):
        keys = [key for batch in loader for key in batch.key]

    assert keys[:5] == ["0-0", "0-1", "0-4", "0-4", "0-4"]
    assert set(loader.bad) == {"00000.tar:0-2", "00000.tar:0-3"}
    assert caplog.text.count("bad sample 00000.tar:0-2 replaced: `.mp4` has changed since it was indexed") == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_samples_in_a_row_end_reading_with_their_names(clip_folder: Path, workers: int) -> None:
    damage(clip_folder, "0-2", "0-3", "0-4")
    loader = EvalLoader(reader(clip_folder, max_bad=3), EvalOrder(12, 4), workers)

    with pytest.raises(
        UserError, match=r"3 bad samples in a row \(00000.tar:0-2, .*0-4\).* Find all with `mav data lint"
    ):
        list(loader)


def test_samples_that_cannot_serve_are_left_out_before_training(
    clip_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index, fps = load_index(clip_folder), UniformFps(4, 16)

    with caplog.at_level(logging.WARNING):
        long_enough = SampleReader(index, ClipDecoder(8, 33, fps), seed=0)  # the videos have 30 to 35 frames

    assert [index[number][1].key for number in long_enough.numbers] == ["0-3", "0-4", "0-5", "1-3", "1-4", "1-5"]
    assert "6 of 12 samples cannot be used (00000.tar:0-0: has 30 frames, fewer than the 33 of a clip" in caplog.text
    with pytest.raises(
        UserError, match="12 of 12 samples cannot be used .* so none is left; see all with `mav data lint"
    ):
        SampleReader(index, ClipDecoder(8, 99, fps), seed=0)


def test_a_curriculum_goes_by_the_clips_of_all_ranks_and_not_at_all_in_validation(clip_folder: Path) -> None:
    asked: list[int | None] = []

    class Asked(BetaFps):
        def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
            asked.append(clips)
            return super().sample(rng, clips)

    curriculum = SampleReader(load_index(clip_folder), ClipDecoder(8, 5, Asked(4, 16, clips=100)), seed=0)
    list(TrainLoader(curriculum, TrainOrder(12, batch_size=3, seed=0, rank=1, world=2)))
    list(EvalLoader(curriculum, EvalOrder(12, batch_size=6)))

    assert asked == [0] * 3 + [6] * 3 + [None] * 12
