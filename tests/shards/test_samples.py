"""Which members make a sample, which names are accepted, and what is said of the rest."""

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tars import END, header, member, pax, tar

from mav_lightning.common.errors import UserError
from mav_lightning.shards.samples import Group, ShardReader, read_folder
from mav_lightning.shards.shard_listing import shard_folders, shard_paths

FolderOf = Callable[..., Path]


def groups(data: bytes) -> list[Group[bytes]]:
    return list(ShardReader(io.BytesIO(data), lambda one, load: load(), len(data)))


def keys_and_suffixes(*names: str) -> list[tuple[str, list[str], str | None]]:
    found = groups(tar([(name, b"x") for name in names]))
    return [(group.key, list(group.members), group.error) for group in found]


@pytest.mark.parametrize(
    "key",
    [
        "0", "a b", " a", "a ", "猫", "Ünïcödé", "а/б", "x(1)[2]{3}", "100%", "a'b\"c", "-rf", "#1", "a\\b", "a:b",
        "$X", "~a", "👩‍👩‍👧", "עברית", "train.v1/0001", "a" * 300,
    ],
)  # fmt: skip
def test_keys_are_of_any_script(key: str) -> None:
    assert keys_and_suffixes(f"{key}.mp4", f"{key}.txt") == [(key, ["mp4", "txt"], None)]


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        ("../../etc/x.mp4", "../../etc/x", "must be relative"),
        ("/etc/x.mp4", "/etc/x", "must be relative"),
        ("a/../b.mp4", "a/../b", "must be relative"),
        ("a//b.mp4", "a//b", "must be relative"),
        ("a/./b.mp4", "a/./b", "must be relative"),
        ("//x.mp4", "//x", "must be relative"),
        ("\x1b]0;title\x07x.mp4", r"\x1b]0;title\x07x", "without control characters"),
        ("a\nb.mp4", r"a\nb", "without control characters"),
        ("a\tb.mp4", r"a\tb", "without control characters"),
        ("a\u202eb.mp4", r"a\u202eb", "without control characters"),
        ("a\u2028b.mp4", r"a\u2028b", "without control characters"),
        ("a\x85b.mp4", r"a\x85b", "without control characters"),
        ("a" * 1025 + ".mp4", "a" * 200 + "…", "has 1025 characters, more than 1024"),
    ],
)
def test_names_that_could_harm_are_refused_and_shown_escaped(name: str, shown: str, reason: str) -> None:
    ((key, suffixes, error),) = keys_and_suffixes(name)

    assert (key, suffixes) == (shown, ["mp4"])
    assert error is not None and error.startswith(f"`{shown}`") and reason in error


def test_names_that_are_not_utf8_are_refused() -> None:
    ((key, _, error),) = [(one.key, one.members, one.error) for one in groups(member(b"caf\xe9.mp4", b"x") + END)]

    assert key == r"caf\udce9"
    assert error is not None and "names must be UTF-8" in error


def test_the_same_name_in_two_encodings_of_accents_is_one_key() -> None:
    name = unicodedata.normalize("NFD", "café")

    assert keys_and_suffixes(f"{name}.mp4", "café.txt") == [("café", ["mp4", "txt"], None)]


def test_suffixes_are_read_in_any_case_and_unlisted_ones_are_left() -> None:
    assert keys_and_suffixes("./a.MP4", "./a.Txt", "./a.npy", "./a.pkl", "b.JPEG") == [
        ("a", ["mp4", "txt"], None), ("b", ["jpeg"], None),
    ]  # fmt: skip


def test_a_dot_in_a_name_ends_the_key_as_in_webdataset() -> None:
    (mask, video, clip) = keys_and_suffixes("0.jpg", "0.mask.png", "0.txt", "take.1.mp4", "take.2.mp4", "v1.0/a.mp4")

    assert mask == ("0", ["jpg", "txt"], None)  # no second image
    assert video[:2] == ("take", [])
    assert video[2] == "a key ends at the first dot, so `take.1.mp4` has no known suffix; rename it"
    assert clip == ("v1.0/a", ["mp4"], None)


def test_a_suffix_twice_in_a_sample_is_refused() -> None:
    assert keys_and_suffixes("a.mp4", "a.MP4", "a.txt")[0][2] == "holds `.mp4` twice"


def test_hidden_members_of_macos_are_skipped_and_counted() -> None:
    names = ["._a.mp4", "a.mp4", "._a.txt", "a.txt", "__MACOSX/._a.mp4", ".DS_Store", "d/.hidden/b.mp4", "x/._c.png"]
    reader = ShardReader(io.BytesIO(tar([(name, b"") for name in names])), lambda one, load: None)

    assert [(group.key, list(group.members), group.error) for group in reader] == [("a", ["mp4", "txt"], None)]
    assert reader.hidden == 6


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (header(b"a.mp4", 0, b"2"), "`.mp4` is a symbolic link; write the shard with `tar --dereference`"),
        (header(b"a.mp4", 0, b"1"), "`.mp4` is a hard link; write the shard with `tar --hard-dereference`"),
        (header(b"a.mp4", 0, b"S"), "`.mp4` is stored sparse; write the shard with `tar` without --sparse"),
        (pax({b"GNU.sparse.size": b"1"}) + member(b"a.mp4", b"1"), "`.mp4` is stored sparse"),
        (header(b"a.txt", (1 << 20) + 1) + bytes((1 << 20) + 512), "`.txt` has 1048577 bytes, more than 1048576"),
    ],
)
def test_what_is_no_file_makes_its_sample_unusable_by_name(one: bytes, reason: str) -> None:
    bad, good = groups(one + member(b"b.mp4", b"x") + END)

    assert bad.error is not None and reason in bad.error
    assert (good.key, good.error) == ("b", None)


def test_a_link_of_no_importance_does_no_harm() -> None:
    (sample,) = groups(header(b"a.npy", 0, b"2") + member(b"a.mp4", b"x") + END)

    assert (sample.key, sample.error) == ("a", None)


def test_a_sample_that_a_cut_may_have_shortened_is_not_given() -> None:
    data = tar([("a.mp4", b"a"), ("b.mp4", b"b"), ("b.txt", b"b")])[: 4 * 512]
    found = []

    with pytest.raises(UserError, match="its end is missing"):
        for group in ShardReader(io.BytesIO(data), lambda one, load: None):
            found.append(group.key)
    assert found == ["a"]


def test_repeated_keys_are_refused_within_and_across_shards(folder_of: FolderOf) -> None:
    folder = folder_of(
        [("a.mp4", b""), ("b.mp4", b""), ("a.txt", b""), ("c.mp4", b""), ("d.mp4", b"")],
        [("c.mp4", b""), ("e.mp4", b""), ("../x.mp4", b"")],
        [("c.txt", b""), ("../x.mp4", b"")],
    )

    found = {
        (path.name, group.key): group.error for path, samples in read_folder(shard_paths(folder)) for group in samples
    }

    again = "its members are not adjacent, or its key is used twice; write the shard again"
    assert found["00000.tar", "a"] == again
    assert [found["00000.tar", key] for key in "bcd"] == [None] * 3
    assert found["00001.tar", "c"] == found["00002.tar", "c"] == "its key is already used in 00000.tar; give it another"
    assert found["00001.tar", "e"] is None
    assert "not a safe name" in (found["00002.tar", "../x"] or "")


def test_a_damaged_shard_is_named_with_its_path(folder_of: FolderOf) -> None:
    folder = folder_of(b"no tar" * 100)

    with pytest.raises(UserError, match=r"train/00000\.tar: not a tar, or damaged at byte 0"):
        list(read_folder(shard_paths(folder)))


def test_shards_are_listed_by_name_and_hidden_ones_are_none(folder_of: FolderOf) -> None:
    folder = folder_of(name="d")
    for name in ("10.tar", "9.tar", "._9.tar", ".hidden.tar", "B.TAR", "a.txt", "x.tar.part"):
        (folder / name).write_bytes(tar([]))
    (folder / "e.tar").mkdir()

    assert [path.name for path in shard_paths(folder)] == ["10.tar", "9.tar", "B.TAR"]


@pytest.mark.parametrize(
    "suffix", ["tar.gz", "tgz", "TAR.GZ", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4", "txz", "tar.lz", "tb2"]
)
@pytest.mark.parametrize("beside", [True, False])
def test_compressed_shards_are_not_passed_over(folder_of: FolderOf, suffix: str, beside: bool) -> None:
    folder = folder_of(*[[("a.mp4", b"")]] * beside, name="d")
    name = f"0.{suffix}"
    (folder / name).write_bytes(b"\x1f\x8b")

    for call in (shard_paths, shard_folders):
        with pytest.raises(UserError, match=f"holds 1 compressed shard, such as {name}.* unpack them"):
            call(folder)


def test_linked_folders_of_shards_are_found(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = folder_of([("a.mp4", b"")], name="elsewhere")
    (tmp_path / "root" / "clips").mkdir(parents=True)
    (tmp_path / "root" / "clips" / "train").symlink_to(folder, target_is_directory=True)
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root", target_is_directory=True)

    assert shard_folders(tmp_path / "root") == [tmp_path / "root" / "clips" / "train"]
