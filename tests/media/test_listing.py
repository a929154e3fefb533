import errno
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError
from mav_lightning.common.terminal import visible
from mav_lightning.common.text_files import composed
from mav_lightning.media.listing import (
    Listing,
    describe_unused,
    is_data_name,
    is_folder,
    list_folder,
    natural_key,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def names(listing: Listing) -> list[str]:
    return [listing.name(path) for path in listing.files]


@pytest.mark.parametrize(
    "order",
    [
        ["0.png", "1.png", "2.png", "10.png", "11.png"],
        ["008.png", "9.png", "010.png", "11.png"],
        ["frame_2.jpg", "frame_10.jpg"],
        ["v1/2.png", "v1/10.png", "v10/1.png"],
        ["1_9.png", "1_10.png", "2_1.png"],
        ["00000000000000000001.png", "00000000000000000002.png", "3.png"],
        ["0.png", "00.png", "a.png"],
        ["frame   9.png", "frame  10.png", "frame  11.png", "frame 100.png"],
    ],
)
def test_numbers_are_ordered_by_value_and_no_width_matters(order: list[str]) -> None:
    assert sorted(reversed(order), key=natural_key) == order
    assert sorted(order, key=natural_key) == order


def test_names_of_thousands_of_digits_and_of_any_script_have_an_order() -> None:
    several = ["9" * 5000, "8" * 5000, "٣", "١٠", "２", "²", "猫2", "猫10", "x\udce9"]
    assert sorted(several, key=natural_key)[:5] == ["２", "٣", "١٠", "8" * 5000, "9" * 5000]


def test_files_are_listed_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/10.png", "b/9.png", "a.mp4", "c d/x y.MP4", "猫.mkv")
    listing = list_folder(tmp_path)
    assert names(listing) == ["a.mp4", "b/9.png", "b/10.png", "c d/x y.MP4", "猫.mkv"]
    assert [path.name for path in listing.with_suffix("mp4", "mkv")] == ["a.mp4", "x y.MP4", "猫.mkv"]
    assert listing.unused == {}


def test_without_recursion_only_the_folder_itself_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar", "b/c.tar")
    assert names(list_folder(tmp_path, recursive=False)) == ["a.tar"]


@pytest.mark.parametrize(
    "name",
    [
        "._a.mp4", ".DS_Store", ".ipynb_checkpoints/a-checkpoint.mp4", "__MACOSX/a.mp4", "__MACOSX/._a.mp4", "a.mp4~",
        "#a.mp4#", "~$a.mp4", "#recycle/a.mp4", "@Recycle/a.mp4", "RECYCLER/a.mp4", "#snapshot/a.mp4",
        "~snapshot/a.mp4", "@tmp/a.mp4", "Temporary Items/a.mp4", "PaxHeaders.12/a.mp4",
        ".a.mp4.swp", "Thumbs.db", "desktop.ini", "@eaDir/a.mp4", "lost+found/a.mp4", ".git/a.mp4",
        "sub/.thumbnails/a.png", "__pycache__/a.png", "$RECYCLE.BIN/a.mp4",
    ],
)  # fmt: skip
def test_hidden_names_and_companions_are_no_data_and_are_named(tmp_path: Path, name: str) -> None:
    listing = list_folder(touch(tmp_path, "a.mp4", name))
    assert names(listing) == ["a.mp4"]
    ((reason, left_out),) = listing.unused.items()
    assert reason.startswith("hidden") and len(left_out) == 1 and name.startswith(left_out[0])
    assert not is_data_name(name)


@pytest.mark.parametrize("name", ["a.mp4", "./a.mp4", "../a.mp4", "a/b.c/d.tar", "a#b.mp4", "x~y.mp4", "_a.mp4"])
def test_ordinary_names_are_data(name: str) -> None:
    assert is_data_name(name)


def test_a_root_with_a_hidden_name_is_listed(tmp_path: Path) -> None:
    assert names(list_folder(touch(tmp_path / ".cache", "a.mp4"))) == ["a.mp4"]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk2", "x/0.mp4", "1.mp4")
    root = touch(tmp_path / "root", "a.mp4")
    (root / "part").symlink_to(tmp_path / "disk2")
    (root / "one.mp4").symlink_to(tmp_path / "disk2" / "1.mp4")
    assert names(list_folder(root)) == ["a.mp4", "one.mp4", "part/1.mp4", "part/x/0.mp4"]
    (tmp_path / "link").symlink_to(root)
    assert len(list_folder(tmp_path / "link").files) == 4


@pytest.mark.parametrize("target", [".", "..", "../root", "b", "loop"])
def test_loops_end_and_are_named(tmp_path: Path, target: str) -> None:
    root = touch(tmp_path / "root", "b/a.mp4")
    (root / "loop").symlink_to(target)
    listing = list_folder(root)
    assert names(listing) == ["b/a.mp4"]
    assert sum(listing.unused.values(), ()) == ("loop",)


def test_a_folder_linked_twice_is_listed_once_and_the_real_one_wins(tmp_path: Path) -> None:
    root = touch(tmp_path, "z/a.mp4")
    for link in ("a", "m"):
        (root / link).symlink_to("z")
    assert names(list_folder(root)) == ["z/a.mp4"]
    assert list_folder(root).unused == {"linked, but listed already": ("a", "m")}


def test_links_to_a_file_that_is_listed_anyway_are_named_with_it(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "a.mp4", "z/b.mp4")
    touch(tmp_path / "disk2", "blob")
    links = {"c.mp4": "a.mp4", "d.mp4": "c.mp4", "e/f.mp4": "../z/b.mp4", "g.mp4": "../disk2/blob", "h.mp4": "g.mp4"}
    for link, target in links.items():
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(target)
    listing = list_folder(root)
    found = {listing.name(link): listing.name(file) for link, file in listing.copies.items()}
    assert found == {"c.mp4": "a.mp4", "d.mp4": "a.mp4", "e/f.mp4": "z/b.mp4", "h.mp4": "g.mp4"}
    assert len(listing.files) == 7


def test_a_link_to_nothing_is_no_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to("gone")
    (tmp_path / "self").symlink_to("self")
    for name in ("val", "self"):
        with pytest.raises(
            UserError, match=f"{name}: is a broken link; restore the file it leads to, or remove the link"
        ):
            is_folder(tmp_path / name)
    assert (is_folder(tmp_path), is_folder(tmp_path / "none")) == (True, False)


def test_links_to_nothing_and_special_files_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    listing = list_folder(tmp_path)
    assert names(listing) == ["a.mp4"]
    assert listing.unused == {"a broken link": ("gone.mp4",), "not a regular file": ("pipe.mp4",)}


def test_a_cache_of_several_revisions_is_not_one_dataset(tmp_path: Path) -> None:
    touch(tmp_path, "blobs/0f3a", "refs/main", "snapshots/5c9e/a.mp4")
    assert names(list_folder(tmp_path)) == ["blobs/0f3a", "refs/main", "snapshots/5c9e/a.mp4"]
    touch(tmp_path, "snapshots/77b2/a.mp4")
    with pytest.raises(UserError, match="holds 2 revisions of a Hugging Face repository; give one .*snapshots/5c9e;"):
        list_folder(tmp_path)
    assert names(list_folder(tmp_path / "snapshots" / "77b2")) == ["a.mp4"]


def test_names_are_compared_in_one_unicode_form() -> None:
    one, separate = (unicodedata.normalize(form, "café.mp4") for form in ("NFC", "NFD"))
    assert one != separate
    assert composed(one) == composed(separate) == one
    assert natural_key(one) == natural_key(separate)


def test_names_that_are_no_utf_8_are_listed_and_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"")
    (path,) = list_folder(tmp_path).files
    assert visible(path.name) == r"caf\udce9.mp4"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        list_folder(tmp_path / "nowhere")


def test_what_is_not_used_is_described_in_one_line() -> None:
    unused = {"hidden": ["._a.mp4"], "not media": ["a.txt", "b.txt", "c.txt", "d.txt"]}
    assert describe_unused(unused) == "5 not used: 1 hidden (`._a.mp4`); 4 not media (`a.txt`, `b.txt`, `c.txt`, …)"
    assert describe_unused({}) == ""


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
def test_a_folder_that_a_fault_of_the_machine_hides_is_not_left_out(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(folder: Path) -> Any:
        if folder.name == "b":
            raise OSError(code, os.strerror(code))
        return listed(folder)

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.mp4").touch()
    listed = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(MachineError, match=f"^{tmp_path}/b: "):
        list_folder(tmp_path)
