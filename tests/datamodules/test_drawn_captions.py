"""Several captions of one image: the first, or one drawn for each sample and pass."""

import json
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

from datamodules.batch import ImageBatch
from datamodules.datamodule import ImageData
from datamodules.index import build_index
from datamodules.packing import pack
from evaluation.folders import open_clips
from mav_lightning.common.errors import UserError
from mav_lightning.shards.sample_facts import read_captions_of
from mav_lightning.shards.samples import SampleError
from mav_lightning.training.description import describe_data


@pytest.fixture
def folder(make_shard: Callable[..., Path], png: bytes, tmp_path: Path) -> Path:
    """Six images with three captions each; the text of image 0 is its second, and image 5 has only a text."""
    members: list[tuple[str, bytes]] = []
    for number in range(6):
        members.append((f"{number}.png", png))
        if number < 5:
            texts = [f"{number}{letter}" for letter in "abc"]
            members.append((f"{number}.json", json.dumps({"captions": texts}).encode()))
        if number in (0, 5):
            members.append((f"{number}.txt", b"0b" if number == 0 else b"five"))
    build_index(make_shard(members).parent)
    return tmp_path


def images(folder: Path, captions: str, **options: Any) -> ImageData:
    return ImageData(folder, 8, **{"batch_size": 2, "captions": captions} | options)


def batches(data: ImageData, number: int) -> list[ImageBatch]:
    loader = data.train_dataloader()
    return list(islice(chain.from_iterable(iter(loader) for _ in range(1000)), number))


def drawn(data: ImageData, number: int = 60) -> list[tuple[str, str]]:
    return [pair for batch in batches(data, number) for pair in zip(batch.key, batch.captions(), strict=True)]


def test_by_default_the_first_counts(folder: Path) -> None:
    first = {"0": "0b", "1": "1a", "2": "2a", "3": "3a", "4": "4a", "5": "five"}
    assert dict(drawn(images(folder, "first"))) == first
    assert set(drawn(images(folder, "first"))) == set(first.items())


def test_each_pass_draws_one_of_all_captions(folder: Path) -> None:
    found = drawn(images(folder, "drawn"))
    assert set(found) == {(str(n), f"{n}{letter}") for n in range(5) for letter in "abc"} | {("5", "five")}
    counts = [sum(caption.endswith(letter) for _, caption in found) for letter in "abc"]
    assert sum(counts) == 100 and min(counts) > 20  # 33 are expected of each, with a deviation of 5
    assert found != drawn(images(folder, "drawn", seed=1))


def test_the_draw_is_the_same_with_workers_ranks_and_after_resuming(folder: Path) -> None:
    whole = drawn(images(folder, "drawn"), 12)
    assert drawn(images(folder, "drawn", workers=1), 12) == whole
    assert sorted(drawn(images(folder, "drawn", batch_size=1), 24)) == sorted(whole)

    interrupted, resumed = (images(folder, "drawn").train_dataloader() for _ in range(2))
    before = [one.captions() for one in islice(chain.from_iterable(iter(interrupted) for _ in range(9)), 5)]
    resumed.load_state_dict(interrupted.state_dict())  # type: ignore[union-attr]
    after = [one.captions() for one in islice(chain.from_iterable(iter(resumed) for _ in range(9)), 7)]
    assert [caption for batch in before + after for caption in batch] == [caption for _, caption in whole]


def test_drawing_is_part_of_the_identity_and_its_absence_is_not(folder: Path) -> None:
    first, other = (describe_data(images(folder, captions)) for captions in ("first", "drawn"))
    assert first["decoder"] == {"class": "datamodules.decoders.ImageDecoder", "size": 8, "captioned": True}
    assert other["decoder"]["class"] == "datamodules.decoders.DrawnCaptionDecoder"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"captions": ["a", " b "], "caption": "c"}, ["a", "b"]),
        ({"caption": ["a", None, ""]}, ["a"]),
        ({"caption": "a"}, ["a"]),
        ({"captions": []}, []),
        ({}, []),
    ],
)
def test_all_captions_are_those_of_the_list(content: dict[str, Any], expected: list[str]) -> None:
    assert read_captions_of({"json": json.dumps(content).encode()}) == expected


def test_what_is_no_caption_is_an_error() -> None:
    assert read_captions_of({"txt": b"a", "json": b"[1]"}) == ["a"]
    with pytest.raises(SampleError, match="`captions` in its `.json` must be text or a list of texts"):
        read_captions_of({"json": b'{"captions": [{"a": 1}]}'})


def test_drawing_needs_captions(folder: Path) -> None:
    with pytest.raises(UserError, match="captions: has no effect without captions"):
        images(folder, "drawn", captioned=False)
    with pytest.raises(UserError, match="captions: must be one of `first`, `drawn`, got 'random'"):
        images(folder, "random")


TABLES = {
    "tsv": 'file\tcaption\na.mp4\t["one", "two", "three"]\nb.mp4\tplain\n',
    "csv": "file,captions\na.mp4,\"['one', 'two', 'three']\"\nb.mp4,plain\n",
    "jsonl": '{"file": "a.mp4", "caption": ["one", "two", "three"]}\n{"file": "b.mp4", "captions": "plain"}\n',
}


@pytest.mark.parametrize("form", TABLES)
def test_lists_in_a_table_are_packed_and_drawn(form: str, make_mp4: Callable[..., bytes], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(make_mp4(8, fps=8.0))
    (tmp_path / "table").write_text(TABLES[form])
    pack(tmp_path, tmp_path / "table", tmp_path / "out", val=0, stills=2)

    first, all_of_them = (
        {caption for _, caption in drawn(images(tmp_path / "out", captions), 20)} for captions in ("first", "drawn")
    )

    assert first == {"one", "plain"} and all_of_them == {"one", "two", "three", "plain"}
    assert {clip.prompt for clip in open_clips(tmp_path / "out", split="train")} == first
