import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datamodules.annotations import Row
from datamodules.index import load_index
from datamodules.msrvtt import draw_caption, read_described, read_msrvtt
from datamodules.packing import pack
from mav_lightning.common.errors import UserError

SPLITS = {"video0": "train", "video6513": "validate", "video7010": "test", "video7011": "test"}
TABLE = "video_id\tofficial_split\tcaption\nvideo0\ttrain\ta car\nvideo6513\tval\ta cat\nvideo7010\ttest\ta dog\n"


def official(captions: int = 20) -> dict[str, Any]:
    """The annotation in small; the captions of a video are written in no order, as in the real one."""
    return {
        "info": {},
        "videos": [
            {"video_id": video, "split": split, "category": 9, "url": f"https://example.org/{split}", "id": 0}
            for video, split in SPLITS.items()
        ],
        "sentences": [
            {"video_id": video, "sen_id": 100 * place + number, "caption": f"{video} text {number}"}
            for number in reversed(range(captions))
            for place, video in enumerate(SPLITS)
        ],
    }


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    path = tmp_path / "MSRVTT_data.json"
    path.write_text(json.dumps(official()))
    return path


def test_the_official_test_side_becomes_val_and_the_validate_side_is_left_out(annotation: Path) -> None:
    known = read_msrvtt(
        annotation, ["all/video0.mp4", "all/video6513.mp4", "deep/er/video7010.mp4", "all/._video0.mp4"]
    )

    assert known.splits == {"all/video0.mp4": "train", "deep/er/video7010.mp4": "val"}
    assert known.left_out == {
        "of the official split `validate`": ["all/video6513.mp4"], "not in the annotation": ["all/._video0.mp4"],
    }  # fmt: skip
    assert known.absent == ["video7011"]


def test_the_validate_side_goes_where_it_is_asked_for(annotation: Path) -> None:
    files = ["video0.mp4", "video6513.mp4"]

    assert (read_msrvtt(annotation, files, validate_as="train").splits or {})["video6513.mp4"] == "train"
    assert (read_msrvtt(annotation, files, validate_as="val").splits or {})["video6513.mp4"] == "val"
    assert "video6513" in read_msrvtt(annotation, files[:1], validate_as="val").absent
    with pytest.raises(UserError, match="validate_as: must be train or val, got `test`"):
        read_msrvtt(annotation, files, validate_as="test")


def test_a_second_file_of_a_video_is_left_out(annotation: Path) -> None:
    known = read_msrvtt(annotation, ["a/video0.mp4", "b/video0.mp4"])

    assert list(known.splits or {}) == ["a/video0.mp4"]
    assert known.left_out == {"a second file of a video": ["b/video0.mp4"]}


def test_videos_are_told_with_all_their_captions_in_order_and_the_film_as_group(annotation: Path) -> None:
    row = read_msrvtt(annotation, ["video7010.mp4"]).rows["video7010.mp4"]

    assert row.captions == tuple(f"video7010 text {number}" for number in range(20))
    assert row.caption in row.captions
    assert row.group == "https://example.org/test"


def test_the_caption_drawn_depends_on_the_seed_and_the_video_alone(annotation: Path, tmp_path: Path) -> None:
    less = official()
    less["videos"] = less["videos"][2:3]
    less["sentences"] = [one for one in reversed(less["sentences"]) if one["video_id"] == "video7010"]
    (tmp_path / "less.json").write_text(json.dumps(less))
    texts = [f"text {number}" for number in range(20)]

    def drawn(path: Path, seed: int) -> str:
        return read_msrvtt(path, ["video7010.mp4"], caption_seed=seed).rows["video7010.mp4"].caption

    assert [drawn(annotation, seed) for seed in range(5)] == [drawn(tmp_path / "less.json", seed) for seed in range(5)]
    assert {draw_caption("video7010", texts, seed) for seed in range(200)} == set(texts)
    assert {draw_caption(f"video{number}", texts, 0) for number in range(200)} == set(texts)
    assert draw_caption("video7010", texts, 0) == "text 14", "a draw that changes makes other data under the same name"


def test_a_table_of_one_caption_each_does_as_well(tmp_path: Path) -> None:
    (tmp_path / "captions.tsv").write_text(TABLE)

    known = read_msrvtt(tmp_path / "captions.tsv", ["video0.mp4", "video6513.mp4", "video7010.mp4"])

    assert known.rows == {"video0.mp4": Row("a car"), "video7010.mp4": Row("a dog")}
    assert known.splits == {"video0.mp4": "train", "video7010.mp4": "val"}
    assert known.left_out == {"of the official split `validate`": ["video6513.mp4"]}


def test_captions_become_one_line_and_empty_ones_are_dropped(tmp_path: Path) -> None:
    text = official(captions=0) | {
        "sentences": [
            {"video_id": "video0", "sen_id": number, "caption": caption}
            for number, caption in enumerate(["a\tman \u2028 runs\n", "  ", None, 7])
        ]
    }
    (tmp_path / "a.json").write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")

    described = read_described(tmp_path / "a.json")

    assert described["video0"].captions == ("a man runs", "7")
    assert described["video7010"].captions == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.json", None, "no such annotation; give MSR-VTT's json"),
        ("a.json", "{", "not MSR-VTT's annotation"),
        ("a.json", '{"videos": []}', "not MSR-VTT's annotation .*sentences.*; it must hold `videos`"),
        ("a.json", "[]", "not MSR-VTT's annotation"),
        ("a.json", json.dumps(official()).replace('"validate"', '"dev"'), "video6513: the split must be .*, got `dev`"),
        (
            "a.json",
            json.dumps(official() | {"videos": 2 * official()["videos"]}),
            "video0 is listed twice; get the official file",
        ),
        (
            "a.json",
            json.dumps(official() | {"sentences": [{"video_id": 0, "sen_id": 1, "caption": "a"}]}),
            "has captions of 1 videos that `videos` does not list, such as 0; get the official file",
        ),
        (
            "a.json",
            json.dumps(official() | {"sentences": [{"video_id": "video0", "sen_id": 1, "caption": "a\ud800"}]}),
            "a.json: caption of video0: holds half of a character",
        ),
        ("a.tsv", "video_id\tcaption\nvideo0\ta car\n", "has no column `official_split`"),
        ("a.tsv", TABLE + "video0\ttest\ta car\n", "line 5 puts video0 in `test`, another in `train`"),
        ("a.tsv", TABLE.replace("video", "film").replace("film_id", "video_id"), "none of its 3 videos exists"),
    ],
)
def test_what_is_no_annotation_of_these_videos_is_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(UserError, match=message):
        read_msrvtt(tmp_path / name, ["video0.mp4"])


def test_a_folder_is_packed_as_the_official_split_says(
    annotation: Path, tmp_path: Path, make_mp4: Callable[..., bytes]
) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for video in SPLITS:
        (source / f"{video}.mp4").write_bytes(make_mp4(12))

    report = pack(source, partial(read_msrvtt, annotation, caption_seed=3), tmp_path / "out", stills=1)

    assert report.written == {"clips/train": 1, "images/train": 1, "clips/val": 2, "images/val": 2}
    index = load_index(tmp_path / "out" / "clips" / "train")
    [members] = [index.read(shard, sample, sample.members) for shard, sample in index]
    told = json.loads(members["json"])
    assert told["captions"] == [f"video0 text {number}" for number in range(20)]
    assert members["txt"].decode() == told["caption"] == draw_caption("video0", told["captions"], 3)
