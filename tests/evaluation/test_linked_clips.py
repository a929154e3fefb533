"""Links in folders of clips: followed, each file once, and nothing is missing in silence."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from clip_folders import SERIES, ids, numbers, ramp, write_frames, write_shard, write_video
from special_files import SPECIAL, make_huge, make_special

from evaluation.folders import open_clips
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_video(tmp_path / "disk2" / "b.mp4")
    write_video(tmp_path / "root" / "a.mp4")
    return tmp_path / "root"


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "links",
    [
        {"c.mp4": "a.mp4"},
        {"0.mp4": "a.mp4"},
        {"best/a.mp4": "../a.mp4"},
        {"c.mp4": "d.mp4", "d.mp4": "a.mp4"},
        {"c": ".", "d": "..", "e": "e", "f": "g", "g": "f"},
    ],
)
def test_a_clip_counts_once_however_many_links_lead_to_it(
    links: dict[str, str], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, target in links.items():
        link(root / name, target)
    with caplog.at_level(logging.WARNING):
        assert ids(root) == ["a.mp4"]
    assert f"{len(links)} not used" in caplog.text


def test_two_links_to_one_file_elsewhere_are_one_clip(root: Path) -> None:
    for name in ("x.mp4", "y.mp4"):
        link(root / name, "../disk2/b.mp4")
    assert ids(root) == ["a.mp4", "x.mp4"]


def test_a_link_to_a_file_that_is_no_clip_by_its_name_is_one(root: Path) -> None:
    write_video(root / "b.mp4").rename(root / "0f3a")
    link(root / "b.mp4", "0f3a")
    assert ids(root) == ["a.mp4", "b.mp4"]


def test_a_shard_counts_once(root: Path) -> None:
    write_shard(root / "x" / "0.tar")
    link(root / "y" / "0.tar", "../x/0.tar")
    link(root / "z", "x")
    assert ids(root) == ["a.mp4", "x/0/e"]


def test_frames_may_be_repeated_by_links(root: Path) -> None:
    write_frames(root / "c", SERIES["no width"][:3])
    link(root / "c" / "3.png", "2.png")
    link(root / "d" / "0.png", "../c/2.png")
    link(root / "d" / "1.png", "../c/0.png")
    found = {source.id: source for source in open_clips(root, fps=8.0)}
    assert numbers(found["c"].read()) == [0, 1, 2, 2] and numbers(found["d"].read()) == [2, 0]


def test_a_frame_that_is_gone_is_named(root: Path) -> None:
    write_frames(root / "c", SERIES["no width"][:3])
    link(root / "c" / "3.png", "nowhere.png")
    with pytest.raises(UserError, match=r"frame `3\.png` is a broken link; download the clip again"):
        open_clips(root, fps=8.0)[1].read()


@pytest.mark.parametrize("file", ["x.mp4", "part/b.mp4", "./part/../x.mp4"])
def test_a_manifest_may_name_linked_files(file: str, root: Path) -> None:
    link(root / "x.mp4", "../disk2/b.mp4")
    link(root / "part", "../disk2")
    write_manifest(root, [ClipRecord("b", file, 8.0, prompt="a dot")])
    (source,) = open_clips(root)
    assert (source.id, source.prompt, numbers(source.read())) == ("b", "a dot", list(range(16)))


def test_a_manifest_may_name_an_array_in_a_store_of_blobs(root: Path) -> None:
    np.save(root / "x.npy", ramp())
    (root / "x.npy").rename(root.parent / "0f3a")
    link(root / "x.npy", "../0f3a")
    write_manifest(root, [ClipRecord("x", "x.npy", 8.0)])
    assert numbers(open_clips(root)[0].read()) == list(range(16))


@pytest.mark.parametrize("file", ["../disk2/b.mp4", "part/../../disk2/b.mp4", "gone.mp4", "/etc/passwd", "a" * 5000])
def test_a_manifest_names_nothing_outside_and_nothing_that_is_gone(file: str, root: Path) -> None:
    link(root / "part", "../disk2")
    link(root / "gone.mp4", "nowhere")
    (root / "manifest.json").write_text(json.dumps({"clips": [{"id": "b", "file": file, "fps": 8}]}))
    with pytest.raises(UserError, match=r"clip `b`: no file `.*` in the folder|clips\.0\.file: must be in the folder"):
        open_clips(root)


def test_a_manifest_names_files_in_whatever_unicode_form(root: Path) -> None:
    write_video(root / "cafe\u0301.mp4")
    write_manifest(root, [ClipRecord("b", "caf\u00e9.mp4", 8.0)])
    assert len(open_clips(root)[0].read()) == 16


@pytest.mark.parametrize("target", ["nowhere.json", "manifest.json", None])
def test_a_manifest_that_cannot_be_read_is_not_passed_over(target: str | None, root: Path) -> None:
    if target is None:
        (root / "manifest.json").mkdir()
    else:
        link(root / "manifest.json", target)
    with pytest.raises(UserError, match="no such manifest"):
        open_clips(root)


def test_a_split_that_is_gone_or_another_one_is_refused(root: Path) -> None:
    write_shard(root / "clips" / "train" / "0.tar")
    link(root / "clips" / "val", "train")
    with pytest.raises(UserError, match="its splits train and val are one folder; evaluate one of them"):
        open_clips(root, "all")
    (root / "clips" / "val").unlink()
    link(root / "clips" / "val", "/mnt/gone")
    for split in ("val", "all"):
        with pytest.raises(UserError, match="val: is a broken link; restore the file it leads to"):
            open_clips(root, split)  # type: ignore[arg-type]


def test_a_split_that_is_missing_is_not_replaced_by_another(root: Path) -> None:
    write_shard(root / "clips" / "train" / "0.tar")
    assert ids(root / "clips" / "train") == ["0/e"]
    with pytest.raises(UserError, match="holds no split val; to measure another one, give .*clips/train"):
        open_clips(root)
    assert [source.id for source in open_clips(root, "all")] == ["train/0/e"]


def test_a_shard_that_is_gone_is_not_passed_over(root: Path) -> None:
    write_shard(root / "0.tar")
    link(root / "1.TAR", "/mnt/gone.tar")
    with pytest.raises(UserError, match=r"holds 1 link to missing shards, such as 1\.TAR; restore the shards"):
        open_clips(root)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_manifest_names_regular_files_and_folders_only(kind: str, tmp_path: Path) -> None:
    make_special(tmp_path / "a.mkv", kind)
    write_manifest(tmp_path, [ClipRecord("a", "a.mkv", 8.0)])
    with pytest.raises(UserError, match="clip `a`: no file `a.mkv` in the folder; generate it again"):
        open_clips(tmp_path)


def test_a_clip_of_a_terabyte_is_not_hashed(tmp_path: Path) -> None:
    make_huge(tmp_path / "a.mkv")
    write_manifest(tmp_path, [ClipRecord("a", "a.mkv", 8.0)])
    (clip,) = open_clips(tmp_path)
    with pytest.raises(UserError, match=r"a\.mkv: 1099511627776 bytes, more than the limit of 2147483648; cut it"):
        clip.sha256()
