"""``mav data pack`` and ``mav data prompts`` with the published data sets."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datamodules.index import load_index
from mav_lightning.cli.data import app
from mav_lightning.common.errors import UserError

TABLE = "video_id\tofficial_split\tcaption\n" + "".join(f"video{n}\ttrain\ttext {n}\n" for n in range(14))
CLASSES = "class_name\tprompt\nArchery\ta bow\n"


def mav_data(*words: object) -> str:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False).output


def refusal(*words: object) -> str:
    """What a command that cannot be meant says."""
    with pytest.raises(UserError) as caught:
        mav_data(*words)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, make_mp4: Callable[..., bytes]) -> Path:
    """Two videos of MSR-VTT, its table, and a stranger."""
    for name in ("video0.mp4", "video13.mp4", "holiday.mp4"):
        (tmp_path / name).write_bytes(make_mp4(12))
    (tmp_path / "msrvtt.tsv").write_text(TABLE)
    (tmp_path / "classes.tsv").write_text(CLASSES)
    return tmp_path


def test_pack_tells_how_many_were_left_out_and_why_but_names_only_the_first(folder: Path) -> None:
    output = mav_data("pack", folder, "--msrvtt", folder / "msrvtt.tsv", "--out", folder / "out", "--stills", 1)

    assert f"{folder / 'out/clips/train'}: 2 samples" in output
    assert "1 left out, not in the annotation:\n  holiday.mp4\n" in output
    assert "12 listed, but missing:\n  video1\n" in output
    assert output.endswith("  video10\n  … and 2 more\n")


def test_pack_reads_an_official_split_of_ucf101(folder: Path, make_mp4: Callable[..., bytes]) -> None:
    (folder / "classInd.txt").write_text("1 Archery\n")
    (folder / "trainlist02.txt").write_text("Archery/v_Archery_g01_c01.avi 1\n")
    (folder / "testlist02.txt").write_text("Archery/v_Archery_g02_c01.avi\n")
    (folder / "UCF-101" / "Archery").mkdir(parents=True)
    (folder / "UCF-101" / "Archery" / "v_Archery_g02_c01.avi").write_bytes(make_mp4(12))
    words = ["--ucf101", folder, "--split", 2, "--prompts", folder / "classes.tsv", "--out", folder / "out"]

    output = mav_data("pack", folder / "UCF-101", *words)

    assert "1 listed, but missing:\n  Archery/v_Archery_g01_c01.avi\n" in output
    index = load_index(folder / "out" / "clips" / "val")
    assert [index.read(shard, sample, ["txt"])["txt"] for shard, sample in index] == [b"a bow"]


def test_pack_wants_one_source_and_its_own_options(folder: Path) -> None:
    command = ["pack", folder, "--out", folder / "out"]
    msrvtt = ["--msrvtt", folder / "msrvtt.tsv"]

    assert "give one of --captions, --ucf101, --msrvtt, exactly one of them; got none" in refusal(*command)
    assert "got --ucf101, --msrvtt" in refusal(*command, *msrvtt, "--ucf101", folder)
    assert refusal(*command, *msrvtt, "--val", 0) == "--val: applies to --captions, got --msrvtt; omit it."
    assert "--split: applies to --ucf101" in refusal(*command, *msrvtt, "--split", 1)
    assert "--caption-seed: applies to --msrvtt" in refusal(*command, "--ucf101", folder, "--caption-seed", 0)
    wrong = CliRunner().invoke(app, [*map(str, command), *map(str, msrvtt), "--validate-as", "test"])
    assert wrong.exit_code == 2 and "--validate-as" in wrong.output


def test_prompts_are_written_as_a_table(folder: Path) -> None:
    (folder / "test.tsv").write_text(TABLE.replace("train", "test"))

    assert mav_data("prompts", folder / "test.tsv", "--per-video", "one", "--out", folder / "a.tsv") == (
        f"{folder / 'a.tsv'}: 14 prompts\n"
    )
    mav_data("prompts", folder / "classes.tsv", "--per-class", 2, "--out", folder / "b.tsv")

    assert (folder / "a.tsv").read_text().splitlines()[:2] == ["id\tprompt", "video0\ttext 0"]
    assert (folder / "b.tsv").read_bytes() == b"id\tprompt\nArchery-0000\ta bow\nArchery-0001\ta bow\n"


def test_prompts_wants_to_know_what_it_reads(folder: Path) -> None:
    command = ["prompts", folder / "classes.tsv", "--out", folder / "a.tsv"]

    assert "--per-class or --frequencies for UCF-101, exactly one of them; got none" in refusal(*command)
    assert "got --per-video and --per-class" in refusal(*command, "--per-class", 1, "--per-video", "all")
    assert "has no effect with --per-class" in refusal(*command, "--per-class", 1, "--caption-seed", 0)
    assert "has no effect with --per-video all" in refusal(*command, "--per-video", "all", "--caption-seed", 0)
    assert "clips: is needed with --frequencies" in refusal(*command, "--frequencies", folder / "classes.tsv")
    assert "clips: is needed with --frequencies" in refusal(*command, "--per-class", 1, "--clips", 3)
    assert not (folder / "a.tsv").exists()
