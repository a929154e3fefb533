import contextlib
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from recording import StopAfter, fit

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import BetaFps, UniformFps
from mav_lightning.common.errors import UserError


def clips(root: Path, **options: object) -> ClipData:
    return ClipData(root, 8, 9, UniformFps(4, 16), batch_size=4, **options)


@pytest.mark.parametrize("stop", [3, 5, 7])
def test_lightning_resumes_in_the_middle_of_a_pass(shapes: Path, tmp_path: Path, stop: int) -> None:
    undisturbed, resumed = clips(shapes), clips(shapes)  # five steps make a pass
    whole = fit(undisturbed, 12)

    before = fit(clips(shapes), 12, StopAfter(stop, tmp_path / "x.ckpt"))
    after = fit(resumed, 12, ckpt_path=tmp_path / "x.ckpt")

    assert len(before.shown) == stop
    assert before.shown + after.shown == whole.shown
    assert resumed.fps.histogram() == undisturbed.fps.histogram()
    assert sum(undisturbed.fps.histogram().values()) == 12 * 4


@pytest.mark.parametrize("error", [None, SystemExit, RuntimeError])
def test_no_worker_is_left_after_a_training(shapes: Path, error: type[BaseException] | None) -> None:
    kept, accident = clips(shapes, workers=2), Fail(2, error) if error else Callback()

    with contextlib.nullcontext() if error is None else pytest.raises(error):
        module = fit(kept, 3, accident)

    assert active_children() == []
    assert error is not None or module.trainer.global_step == 3


class Fail(Callback):
    """Raises an error at a step."""

    def __init__(self, step: int, error: type[BaseException]) -> None:
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            raise self.error


def test_validation_shows_each_clip_once_and_the_same_cuts_every_time(shapes: Path) -> None:
    loader = clips(shapes, workers=1).val_dataloader()

    first, second = list(loader), list(loader)

    assert sorted(key for batch in first for key in batch.key) == [f"{number:09d}" for number in range(72)]
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(first, second, strict=True))


def test_images_come_with_their_captions(shapes: Path) -> None:
    batch = next(iter(ImageData(shapes, size=8, batch_size=5).train_dataloader()))

    assert batch.pixels.shape == (5, 3, 8, 8)
    assert len(set(batch.caption)) > 1
    assert next(iter(ImageData(shapes, 8, 5, captioned=False).train_dataloader())).caption is None


def test_a_kinds_own_folder_is_as_good_as_the_whole_data_set(shapes: Path) -> None:
    whole, part = clips(shapes), clips(shapes / "clips")

    assert next(iter(whole.train_dataloader())).key == next(iter(part.train_dataloader())).key


def test_ranks_and_caches_do_not_change_what_is_trained_on(shapes: Path) -> None:
    plain, cached = (list(clips(shapes, cache_mb=size).train_dataloader()) for size in (0, 8))

    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(plain, cached, strict=True))


def test_without_a_val_folder_there_is_no_validation(clip_folder: Path) -> None:
    assert clips(clip_folder.parent).val_dataloader() == []


def test_a_split_that_is_gone_is_not_taken_for_none(clip_folder: Path) -> None:
    (clip_folder.parent / "val").symlink_to("/mnt/gone")
    with pytest.raises(UserError, match="val: is a broken link; restore the file it leads to, or remove the link"):
        clips(clip_folder.parent).val_dataloader()


def test_validation_on_the_training_samples_is_reported(clip_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (clip_folder.parent / "val").symlink_to(clip_folder.name)
    data = clips(clip_folder.parent)
    data.setup("fit")
    assert "the split val holds the same samples as train" in caplog.text


def test_mistakes_show_at_setup_with_a_way_out(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither `clips/train` nor `train`; write shards with `mav data shapes"):
        clips(tmp_path / "nowhere").setup("fit")
    with pytest.raises(UserError, match="reader: must be"):
        clips(shapes, reader="magic")


def test_a_curriculum_needs_a_reader_that_knows_how_far_it_is(clip_folder: Path) -> None:
    with pytest.raises(UserError, match="reader: .* use reader=indexed or UniformFps"):
        ClipData(clip_folder, 8, 9, BetaFps(4, 16, clips=100), batch_size=4, reader="streaming")


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": -1},
        {"batch_size": 0},
        {"size": 0},
        {"size": 8.5},
        {"frames": 0},
        {"frames": True},
        {"seed": -1},
        {"cache_mb": -1},
        {"fps": 8.0},
        {"reader": "streaming", "cache_mb": 4},
        {"reader": "streaming", "embeddings": "abc"},
    ],
)
def test_values_out_of_range_are_refused_by_name(clip_folder: Path, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"size": 8, "frames": 9, "fps": UniformFps(4, 16), "batch_size": 4} | wrong
    with pytest.raises(UserError) as caught:
        ClipData(clip_folder, **arguments)
    assert caught.value.argument == list(wrong)[-1]


def test_it_behaves_as_lightning_users_expect(shapes: Path, clip_folder: Path) -> None:
    data = clips(shapes)
    data.setup()

    validated = [key for batch in data.val_dataloader() for key in batch.key]
    for loader in (data.test_dataloader(), data.predict_dataloader()):
        assert [key for batch in loader for key in batch.key] == validated
    with pytest.raises(UserError, match="neither a `test` nor a `val` split"):
        clips(clip_folder.parent).test_dataloader()


def test_a_test_split_is_preferred(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name, source in (("train", "train"), ("val", "train"), ("test", "val")):
        (tmp_path / "clips" / name).symlink_to(shapes / "clips" / source)

    tested = [key for batch in clips(tmp_path).test_dataloader() for key in batch.key]

    assert tested == [key for batch in clips(shapes).val_dataloader() for key in batch.key]
