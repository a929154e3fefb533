import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from datamodules.annotations import Row
from datamodules.index import load_index
from datamodules.packing import pack
from datamodules.ucf101 import class_words, read_class_prompts, read_ucf101
from mav_lightning.common.errors import UserError

ARCHERY, PUSHUPS = "Archery/v_Archery_g{}_c01.avi", "HandstandPushups/v_HandStandPushups_g{}_c01.avi"
OFFICIAL = {
    "classInd.txt": "1 Archery\r\n2 HandstandPushups\r\n",
    "trainlist01.txt": "".join(f"{ARCHERY.format(n)} 1\r\n{PUSHUPS.format(n)} 2\r\n" for n in ("08", "09")),
    "testlist01.txt": f"{ARCHERY.format('01')}\r\n{PUSHUPS.format('01')}\r\n",
}
PROMPTS = "# Whose they are\n#class_index\tclass_name\tprompt\n2\tHandstandPushups\tpush ups\n1\tArchery\ta bow\n"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "ucfTrainTestlist"
    folder.mkdir()
    for name, text in OFFICIAL.items():
        (folder / name).write_text(text, newline="")
    return folder


def test_the_official_test_side_becomes_val_and_clips_of_one_video_one_group(lists: Path) -> None:
    known = read_ucf101(lists, [ARCHERY.format("08"), PUSHUPS.format("01")])

    assert known.splits == {ARCHERY.format("08"): "train", PUSHUPS.format("01"): "val"}
    assert known.rows == {
        ARCHERY.format("08"): Row("archery", "Archery", "v_Archery_g08"),
        PUSHUPS.format("01"): Row("handstand pushups", "HandstandPushups", "v_HandStandPushups_g01"),
    }


def test_what_is_not_listed_is_left_out_and_what_is_not_there_is_named(lists: Path) -> None:
    known = read_ucf101(lists, [ARCHERY.format("08"), "Archery/photo.jpg", ARCHERY.format("25")])

    assert list(known.splits or {}) == [ARCHERY.format("08")]
    assert known.left_out == {"not in split 1": ["Archery/photo.jpg", ARCHERY.format("25")]}
    assert known.absent == [PUSHUPS.format("08"), ARCHERY.format("09"), PUSHUPS.format("09")] + [
        ARCHERY.format("01"), PUSHUPS.format("01"),
    ]  # fmt: skip


def test_a_name_may_differ_in_case_unless_the_exact_one_is_there(lists: Path) -> None:
    exact, mended = PUSHUPS.format("01"), PUSHUPS.format("01").replace("HandStand", "Handstand")

    alone, both = read_ucf101(lists, [mended]), read_ucf101(lists, [mended, exact])

    assert alone.splits == {mended: "val"}
    assert alone.rows[mended].group == "v_HandStandPushups_g01"
    assert exact not in alone.absent
    assert both.splits == {exact: "val"}
    assert both.left_out == {"not in split 1": [mended]}


def test_captions_are_the_users_prompts_or_else_the_words_of_the_class(lists: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.tsv").write_text(PROMPTS)

    known = read_ucf101(lists, [ARCHERY.format("08")], prompts=tmp_path / "prompts.tsv")

    assert known.rows[ARCHERY.format("08")].caption == "a bow"
    assert read_class_prompts(tmp_path / "prompts.tsv") == {"HandstandPushups": "push ups", "Archery": "a bow"}
    assert [class_words(label) for label in ("HandstandPushups", "YoYo", "Archery")] == [
        "handstand pushups", "yo yo", "archery",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("testlist01.txt", None, "testlist01.txt: no such file; give the folder ucfTrainTestlist"),
        ("classInd.txt", "Archery\n", "`Archery` is not a number and a class"),
        ("testlist01.txt", "../v_Archery_g01_c01.avi\n", r"line 1, `../v_Archery_g01_c01.avi`, is not of the form"),
        ("testlist01.txt", "Archry/v_Archry_g01_c01.avi\n", "line 1, .* with a class of classInd.txt"),
        ("trainlist01.txt", f"{ARCHERY.format('08')} 2\n", "gives the class Archery the number 2, classInd.txt 1"),
        (
            "testlist01.txt",
            f"{ARCHERY.format('08')}\n",
            "v_Archery_g08_c01.avi` is in both the training and the test list",
        ),
    ],
)
def test_lists_that_are_not_the_official_ones_are_refused(
    lists: Path, file: str, text: str | None, message: str
) -> None:
    (lists / file).unlink()
    if text is not None:
        (lists / file).write_text(text)

    with pytest.raises(UserError, match=message):
        read_ucf101(lists, [ARCHERY.format("09")])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("class_name\tprompt\nArchery\ta bow\n", "no prompt for 1 of 2 classes, such as `HandstandPushups`; add them"),
        (PROMPTS.replace("Pushups", "PushUps"), r"`HandstandPushups`; add them. Did you mean `HandstandPushUps`\?"),
        (PROMPTS + "1\tArchery\tbows\n", "line 5 has the class `Archery` twice"),
        (PROMPTS + "3\tYoYo\t\n", "line 5 has the class `YoYo` without a prompt"),
        ("archery\nhandstand pushups\n", "has no column `class_name`"),
        ("# nothing\n", "holds no rows"),
    ],
)
def test_prompts_that_do_not_fit_the_classes_are_refused(lists: Path, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "prompts.tsv").write_text(table)

    with pytest.raises(UserError, match=message):
        read_ucf101(lists, [ARCHERY.format("08")], prompts=tmp_path / "prompts.tsv")


def test_another_split_and_another_folder_are_refused(lists: Path) -> None:
    with pytest.raises(UserError, match="split: must be one of 1, 2, 3, got 4"):
        read_ucf101(lists, [ARCHERY.format("08")], split=4)
    with pytest.raises(UserError, match="none of the 6 files of split 1 exists; pack the folder that holds the class"):
        read_ucf101(lists, [f"UCF-101/{ARCHERY.format('08')}"])


def test_a_tree_is_packed_as_the_official_split_says(
    lists: Path, tmp_path: Path, make_mp4: Callable[..., bytes]
) -> None:
    source = tmp_path / "UCF-101"
    for name in (ARCHERY.format("08"), ARCHERY.format("25"), PUSHUPS.format("08"), PUSHUPS.format("01")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(make_mp4(12))

    report = pack(source, partial(read_ucf101, lists), tmp_path / "out", val=0.9, stills=2)

    assert report.written == {"clips/train": 2, "images/train": 4, "clips/val": 1, "images/val": 2}
    assert report.left_out == {"not in split 1": [ARCHERY.format("25")]}
    assert len(report.absent) == 3
    assert report.uncaptioned == []
    index = load_index(tmp_path / "out" / "clips" / "val")
    [members] = [index.read(shard, sample, sample.members) for shard, sample in index]
    assert members["txt"] == b"handstand pushups"
    assert json.loads(members["json"]) == {
        "file": PUSHUPS.format("01"), "caption": "handstand pushups", "label": "HandstandPushups",
        "group": "v_HandStandPushups_g01",
    }  # fmt: skip
