import errno
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.index import Index, load_index
from datamodules.packing import pack
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError

HEADER = "file\tcaption\tlabel\tgroup\n"


@pytest.fixture
def source(tmp_path: Path, make_mp4: Callable[..., bytes], png: bytes) -> Path:
    """Videos of three groups, an image, and one of each that is no use."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for name in ("a1.mp4", "a2.mp4", "b1.mp4", "deep/c1.MP4", "untold.mp4"):
        (folder / name).write_bytes(make_mp4(12))
    (folder / "broken.mp4").write_bytes(make_mp4(12)[:300])
    (folder / "photo.png").write_bytes(png)
    (folder / "bare.png").write_bytes(png)
    (folder / "notes.doc").write_bytes(b"not looked at")
    table = HEADER + "".join(
        f"{name}\tthe {name}\tx\t{group}\n"
        for name, group in [("a1.mp4", "a"), ("a2.mp4", "a"), ("b1.mp4", "b"), ("deep/c1.MP4", "c"), ("photo.png", "")]
    )
    (folder / "captions.tsv").write_text(table + "broken.mp4\tbroken\t\t\n")
    return folder


def run(source: Path, out: str = "out", **options: float) -> Path:
    pack(source, source / "captions.tsv", source.parent / out, **options)
    return source.parent / out


def contents(index: Index) -> dict[str, dict[str, bytes]]:
    """File name → members, for the samples of an index."""
    members = [index.read(shard, sample, sample.members) for shard, sample in index]
    return {json.loads(one["json"])["file"]: one for one in members}


def test_videos_become_clips_and_captioned_ones_stills(source: Path) -> None:
    report = pack(source, source / "captions.tsv", source.parent / "out", val=0.0, stills=3)

    clips, images = (load_index(source.parent / "out" / kind / "train") for kind in ("clips", "images"))
    packed = contents(clips)
    assert set(packed) == {"a1.mp4", "a2.mp4", "b1.mp4", "deep/c1.MP4", "untold.mp4"}
    assert packed["a1.mp4"]["mp4"] == (source / "a1.mp4").read_bytes()
    assert packed["a1.mp4"]["txt"] == b"the a1.mp4"
    assert "txt" not in packed["untold.mp4"]
    assert set(contents(images)) == {"a1.mp4", "a2.mp4", "b1.mp4", "deep/c1.MP4", "photo.png"}
    assert report.written == {"clips/train": 5, "images/train": 4 * 3 + 1}


def test_a_caption_is_kept_whole_and_an_empty_one_counts_as_none(source: Path) -> None:
    long = "“so long”, with 猫 and 👩‍👩‍👧, " * 750
    table = HEADER.replace("\n", "\r\n") + f"a1.mp4\t{long}\t\t\r\na2.mp4\t\t\t\r\n"
    (source / "captions.tsv").write_bytes(b"\xef\xbb\xbf" + table.encode())

    report = pack(source, source / "captions.tsv", source.parent / "out", val=0.0, stills=2)

    packed = contents(load_index(source.parent / "out" / "clips" / "train"))
    assert packed["a1.mp4"]["txt"].decode() == long.strip()
    assert "txt" not in packed["a2.mp4"] and "a2.mp4" in report.uncaptioned
    assert set(contents(load_index(source.parent / "out" / "images" / "train"))) == {"a1.mp4"}


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("name", ["a1.mp4", "photo.png"])
def test_a_fault_of_the_machine_leaves_no_file_out_but_ends_the_packing(
    name: str, code: int, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == name:
            raise OSError(code, os.strerror(code))
        return original(path, *args, **options)

    original = Path.open
    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(MachineError, match=f"^{source / name}: {os.strerror(code)}|too many files are open"):
        pack(source, source / "captions.tsv", source.parent / "out")
    assert not list(source.parent.glob("*out*"))


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(source: Path) -> None:
    report = pack(source, source / "captions.tsv", source.parent / "out")

    assert list(report.undecodable) == ["broken.mp4"]
    assert "cannot be decoded" in report.undecodable["broken.mp4"]
    assert report.uncaptioned == ["bare.png", "untold.mp4"]


def test_groups_stay_together_and_the_split_is_repeatable(source: Path) -> None:
    one, two = run(source, "one", val=0.4), run(source, "two", val=0.4)

    splits = {split: set(contents(load_index(one / "clips" / split))) for split in ("train", "val")}
    assert splits["train"]
    assert splits["val"]
    assert any({"a1.mp4", "a2.mp4"} <= files for files in splits.values())
    for part in ("clips/train", "clips/val", "images/train", "images/val"):
        assert load_index(one / part).sha256 == load_index(two / part).sha256


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEADER + "a1.mp4\tx\t\t\na1.mp4\ty\t\t\n", r"1 file\(s\) have more than one row: a1.mp4 \(line 3\); keep one"),
        (HEADER + "a1.mp5\tx\t\t\n", r"1 row\(s\) name missing files: a1.mp5; .* Did you mean `a1.mp4`\?"),
        (HEADER + "../a1.mp4\tx\t\t\n", r"name missing files: ../a1.mp4"),
        (HEADER + "./deep/c1.MP4\tx\t\t\n", r"name missing files: ./deep/c1.MP4; .* Did you mean `deep/c1.MP4`\?"),
        (HEADER + "deep\\c1.MP4\tx\t\t\n", r"name missing files: deep\\c1.MP4; .* Did you mean `deep/c1.MP4`\?"),
        (HEADER + "a1.mp4\tx\t\t\t\n", "line 2 has 5 columns, its header 4; separate by tabs"),
        ("file\tcaptoin\na1.mp4\tx\n", "has no column `caption`; .* Did you mean `captoin`"),
        (HEADER + "a1.mp4\tx\n", "line 2 has 2 columns, its header 4; separate by tabs"),
        (HEADER, "holds no rows"),
    ],
)
def test_a_table_that_does_not_fit_packs_nothing(source: Path, table: str, message: str) -> None:
    (source / "captions.tsv").write_text(table)

    with pytest.raises(UserError, match=message):
        run(source)
    assert not (source.parent / "out").exists()


def test_bad_places_and_numbers_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    table = source / "captions.tsv"

    for wrong, message in [
        ((tmp_path / "nowhere", table, tmp_path / "out"), "no such folder; give the folder that holds the videos"),
        ((tmp_path / "empty", table, tmp_path / "out"), "holds no video or image"),
        ((source, tmp_path / "none.tsv", tmp_path / "out"), "no such caption table"),
        ((source, table, source), "already holds something"),
    ]:
        with pytest.raises(UserError, match=message):
            pack(*wrong)
    with pytest.raises(UserError, match=r"val: must be below 1"):
        run(source, val=1.0)


def test_nothing_usable_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "x.mp4").write_bytes(b"junk")
    (source / "captions.tsv").write_text(HEADER + "x.mp4\tx\t\t\n")

    with pytest.raises(UserError, match="none of 1 files can be used; the first, x.mp4: .* cannot be decoded"):
        run(source)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("suffix", ["mp4", "MOV", "m4v", "3gp", "Mp4"])
def test_every_suffix_of_a_video_is_packed(suffix: str, tmp_path: Path, make_mp4: Callable[..., bytes]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / f"a.{suffix}").write_bytes(make_mp4(8))
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\na.{suffix}\tx\n")

    report = pack(tmp_path / "source", tmp_path / "captions.tsv", tmp_path / "out", val=0.0, stills=2)

    assert report.written == {"clips/train": 1, "images/train": 2} and not report.unused


def test_what_is_no_media_is_named_with_its_reason(tmp_path: Path, make_mp4: Callable[..., bytes]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.mp4", "._a.mp4", "b.flv", "notes.txt"):
        (source / name).write_bytes(make_mp4(8))
    (source / "captions.tsv").write_text("file\tcaption\na.mp4\tx\n")

    report = pack(source, source / "captions.tsv", tmp_path / "out", val=0.0)

    assert report.written["clips/train"] == 1
    assert sorted(sum(report.unused.values(), [])) == ["._a.mp4", "b.flv", "notes.txt"]


def test_a_row_that_names_a_file_of_another_format_says_so(tmp_path: Path, make_mp4: Callable[..., bytes]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.mp4", "b.flv"):
        (source / name).write_bytes(make_mp4(8))
    (source / "captions.tsv").write_text("file\tcaption\na.mp4\tx\nb.flv\ty\n")

    with pytest.raises(UserError, match=r"1 row\(s\) name files of formats that are not read: b\.flv; convert them"):
        run(source)


def test_linked_folders_and_names_in_any_unicode_form_are_packed(
    tmp_path: Path, make_mp4: Callable[..., bytes]
) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café.mp4") for form in ("NFC", "NFD"))
    (tmp_path / "disk2").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "disk2" / decomposed).write_bytes(make_mp4(8))
    (tmp_path / "source" / "part").symlink_to(tmp_path / "disk2")
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\npart/{composed}\tx\n")

    report = pack(tmp_path / "source", tmp_path / "captions.tsv", tmp_path / "out", val=0.0, stills=1)

    assert report.written == {"clips/train": 1, "images/train": 1} and not report.uncaptioned


def test_names_that_differ_only_by_the_form_of_accents_are_refused(source: Path) -> None:
    for form in ("NFC", "NFD"):
        (source / unicodedata.normalize(form, "é.mp4")).write_bytes((source / "a1.mp4").read_bytes())

    with pytest.raises(UserError, match=r"1 name\(s\) are used twice, .*: é.mp4; rename one file of each"):
        run(source)
    assert not (source.parent / "out").exists()


def test_a_name_of_other_case_is_suggested(source: Path) -> None:
    (source / "captions.tsv").write_text("file\tcaption\nDEEP/C1.mp4\tx\n")

    with pytest.raises(UserError, match=r"DEEP/C1.mp4.*Did you mean `deep/c1.MP4`\?"):
        run(source)


@pytest.mark.parametrize(("val", "ungrouped"), [(0.5, ["b.mp4"]), (0.0, [])])
def test_files_without_a_group_are_named_if_they_are_split(
    val: float, ungrouped: list[str], tmp_path: Path, make_mp4: Callable[..., bytes]
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(make_mp4(8))
    (tmp_path / "captions.tsv").write_text("file\tcaption\tgroup\na.mp4\tx\tfilm\nb.mp4\ty\t\n")

    report = pack(tmp_path, tmp_path / "captions.tsv", tmp_path / "out", val=val, stills=1)

    assert report.ungrouped == ungrouped


def test_a_link_to_a_packed_file_needs_a_row_of_its_own_and_stays_in_its_split(source: Path) -> None:
    for link, target in (("x.mp4", "a1.mp4"), ("y.mp4", "untold.mp4"), ("deep/z.png", "../photo.png")):
        (source / link).symlink_to(target)
    with (source / "captions.tsv").open("a") as table:
        table.write("y.mp4\tanother text\t\t\n")
    splits = set()
    for number in range(3):
        report = pack(source, source / "captions.tsv", source.parent / str(number), val=0.5)
        assert report.unused["linked, but listed already"] == ["deep/z.png", "x.mp4"]
        clips = source.parent / str(number) / "clips"
        found = {split: set(contents(load_index(clips / split))) for split in ("train", "val")}
        assert {"untold.mp4", "y.mp4"} <= found["train"] or {"untold.mp4", "y.mp4"} <= found["val"]
        splits.add(frozenset(found["train"]))
    assert len(splits) == 1


def test_a_folder_that_holds_hidden_videos_only_is_no_riddle(tmp_path: Path) -> None:
    (tmp_path / ".a.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds no video or image .* 1 not used: 1 hidden, .* \(`\.a\.mp4`\)\."):
        pack(tmp_path, tmp_path / "captions.tsv", tmp_path / "out")
