"""Samples chosen by their metadata: what is read, counted and part of a run's identity."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.index import build_index
from mav_lightning.common.errors import UserError
from mav_lightning.training.description import describe_data


@pytest.fixture
def laion(make_shard: Callable[..., Path], png: bytes) -> Path:
    """Ten images, number i with a watermark of probability i / 10; 7 and 8 without one, 9 with a text in its place."""
    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for number in range(5 * shard, 5 * shard + 5):
            facts: dict[str, Any] = {"NSFW": "UNLIKELY", "pwatermark": number / 10}
            if number in (7, 8):
                del facts["pwatermark"]
            if number == 9:
                facts["pwatermark"] = "none"
            key = f"{number:09d}"
            members += [(f"{key}.png", png), (f"{key}.txt", b"red"), (f"{key}.json", json.dumps(facts).encode())]
        folder = make_shard(members).parent
    build_index(folder)
    return folder.parent


def images(root: Path, where: str | None, **options: Any) -> ImageData:
    return ImageData(root, 8, batch_size=2, where=where, **options)


def keys(data: ImageData) -> set[str]:
    return {key for batch in data.train_dataloader() for key in batch.key}


def test_only_samples_that_fit_are_read_and_the_rest_is_counted(laion: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data = images(laion, "pwatermark <= 0.3")
        data.setup("fit")

    assert keys(data) == {f"{number:09d}" for number in range(4)}
    assert (
        "`pwatermark <= 0.3` keeps 4 of 10 samples; 1 hold another type in `pwatermark`, 2 lack `pwatermark` and are "
        "left out (`or pwatermark is missing` keeps such samples)." in caplog.text
    )
    assert caplog.text.count("keeps 4 of 10") == 1


def test_samples_without_a_field_are_kept_on_request(laion: Path) -> None:
    assert len(keys(images(laion, "pwatermark <= 0.3 or pwatermark is missing"))) == 6


def test_the_media_and_the_caption_are_fields_too(laion: Path, shapes: Path) -> None:
    assert len(keys(images(laion, "media.width == 8 and caption == 'red' and media.frames == 1"))) == 10
    data = ClipData(shapes, 8, 9, UniformFps(4, 16), batch_size=4, where="media.fps > 100 or media.span > 2")
    assert len(list(data.train_dataloader())) == 5


def test_a_field_that_no_sample_holds_is_an_error_with_the_nearest_name(laion: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"where: position 8: none of 10 samples of .* holds `pwatermrk`; their fields are NSFW, pwatermark, "
        r"caption, media.width.* Did you mean `pwatermark`\?",
    ):
        images(laion, "not (  pwatermrk > 0.5)").setup("fit")


def test_asking_whether_a_field_is_missing_is_no_mistake(laion: Path) -> None:
    assert len(keys(images(laion, "license is missing"))) == 10


def test_nothing_left_is_an_error(laion: Path) -> None:
    with pytest.raises(UserError, match="`pwatermark > 2` keeps 0 of 10 samples; .* left out .*change the condition"):
        images(laion, "pwatermark > 2").setup("fit")


def test_mistakes_show_before_anything_is_read(laion: Path) -> None:
    with pytest.raises(UserError, match="where: position 1: .* is not accepted"):
        images(laion, "exit()")
    with pytest.raises(UserError, match="where: needs the index of the shards; use reader=indexed or None"):
        images(laion, "a == 1", reader="streaming")


def test_the_choice_is_part_of_the_identity(laion: Path) -> None:
    plain, some, fewer = (images(laion, where) for where in (None, "pwatermark <= 0.3", "pwatermark <= 0.2"))
    described = [describe_data(one) for one in (plain, some, fewer)]
    assert len({one["root"] for one in described}) == 3
    assert described[0].keys() == described[1].keys() == described[2].keys(), "runs without a condition keep theirs"

    state = some.train_dataloader().state_dict()
    images(laion, "pwatermark < 0.35").train_dataloader().load_state_dict(state)  # the same samples
    with pytest.raises(UserError, match="index_sha256: the checkpoint was made with"):
        fewer.train_dataloader().load_state_dict(state)


def test_the_same_samples_are_chosen_by_several_processes(laion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = images(laion, "pwatermark <= 0.3 or pwatermark is missing")
    wanted = [batch.pixels for batch in alone.train_dataloader()]
    monkeypatch.setattr("datamodules.selection._CHUNK", 3)
    helped = images(laion, "pwatermark <= 0.3 or pwatermark is missing", workers=1)
    got = [batch.pixels for batch in helped.train_dataloader()]
    assert len(got) == len(wanted) and all(map(torch.equal, got, wanted))
    assert helped.content_sha256() == alone.content_sha256()
