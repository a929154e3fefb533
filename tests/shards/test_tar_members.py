"""Every tar is read to its end or refused in one message: nothing hangs, and nothing else is raised."""

import bz2
import gzip
import io
import lzma
import random
import tarfile

import pytest
from tars import END, block, header, member, pax, tar

from mav_lightning.shards.tar_members import ShardError, TarReader


def read(data: bytes, size: bool = True) -> dict[str, bytes]:
    """Name → data of all members."""
    reader = TarReader(io.BytesIO(data), len(data) if size else None)
    return {one.name: reader.data() for one in reader}


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a network does."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 7))


MEMBERS = [("a.mp4", b"x" * 700), ("a.txt", b"caption"), ("dir/b.png", b""), ("猫 1.json", b"{}" * 600)]


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_were_written(layout: int) -> None:
    long = [*MEMBERS, ("d" * 90 + "/" + "n" * 90 + ".txt", b"long")]
    data = tar(long, layout)

    assert read(data) == read(data, size=False) == dict(long)
    reader = TarReader(Trickle(data))  # type: ignore[arg-type]
    assert {one.name: reader.data() for one in reader} == dict(long)


def test_offsets_point_at_the_data_whether_it_is_read_skipped_or_sought_over() -> None:
    data = tar(MEMBERS)
    stream = io.BytesIO(data)

    walks = [
        list(TarReader(io.BytesIO(data))),
        list(TarReader(stream, len(data), skip=lambda count: stream.seek(count, 1))),
    ]

    assert walks[0] == walks[1]
    assert [(one.name, data[one.offset : one.offset + one.size]) for one in walks[0]] == MEMBERS


def test_directories_are_no_members_and_long_names_of_both_kinds_are_whole() -> None:
    name = b"n" * 300 + b".txt"
    gnu = member(b"././@LongLink", name + b"\0", b"L") + member(b"short", b"1")
    link = member(b"././@LongLink", b"t" * 200 + b"\0", b"K") + header(b"link.mp4", 0, b"2")
    data = header(b"dir/", 0, b"5") + gnu + pax({b"path": b"long/" + name}) + member(b"short", b"2") + link + END

    assert read(data) == {name.decode(): b"1", "long/" + name.decode(): b"2", "link.mp4": b""}


def test_an_archive_that_follows_another_is_read_too() -> None:
    assert read(tar(MEMBERS[:2]) + tar(MEMBERS[2:])) == dict(MEMBERS)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (b"1", "a hard link; write the shard with `tar --hard-dereference`"),
        (b"2", "a symbolic link; write the shard with `tar --dereference`"),
        (b"3", "a device, not a file"),
        (b"4", "a device, not a file"),
        (b"6", "a pipe, not a file"),
        (b"M", "a part of an archive of several volumes"),
        (b"S", "stored sparse; write the shard with `tar` without --sparse"),
        (b"Z", "of the unknown type b'Z'"),
    ],
)
def test_what_is_no_plain_file_is_named(kind: bytes, problem: str) -> None:
    data = header(b"a.mp4", 0, kind) + member(b"b.txt", b"b") + END

    assert [(one.name, one.problem) for one in TarReader(io.BytesIO(data))] == [("a.mp4", problem), ("b.txt", None)]


def test_sparse_members_of_every_dialect_are_named_and_what_follows_is_found() -> None:
    extended = bytearray(header(b"old.mp4", 512, b"S"))
    extended[482] = 1  # a further block of holes follows
    extended[148:156] = b" " * 8
    extended[148:156] = b"%06o\0 " % sum(extended)
    old = bytes(extended) + bytes(512) + block(b"d" * 512)
    new = pax({b"GNU.sparse.major": b"1", b"GNU.sparse.name": b"x", b"size": b"5"}) + member(b"new.mp4", b"12345")
    none = pax({b"GNU.sparse.map": b"x,y"}) + member(b"map.mp4", b"1")

    found = list(TarReader(io.BytesIO(old + new + none + member(b"b.txt", b"b") + END)))

    assert [one.name for one in found] == ["old.mp4", "new.mp4", "map.mp4", "b.txt"]
    assert all("stored sparse" in (one.problem or "") for one in found[:3])
    assert found[3].problem is None


GOOD = member(b"a.mp4", b"good")
SIZES = {
    "negative": ((1 << 96) - 512).to_bytes(12, "big"),
    "huge": (1 << 80 | 0x80 << 88).to_bytes(12, "big"),
    "negative octal": b"-0000000777",
    "not a number": b"99999999999",
    "larger than the file": b"%011o\0" % (1 << 32),
    "beyond the end": b"+0000100000",
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K", b"S", b"7", b"Z"])
@pytest.mark.parametrize("known", [True, False])
def test_sizes_that_cannot_be_are_refused(size: str, kind: bytes, known: bool) -> None:
    with pytest.raises(ShardError, match="fetch or write the shard again"):
        read(GOOD + header(b"b.mp4", SIZES[size], kind) + bytes(10240), known)


@pytest.mark.parametrize(
    "records",
    [
        b"5 x\n", b"99 path=a\n", b"path=a\n", b"-9 path=a\n", b"0 path=a\n", b"9999999999999999999999 path=a\n",
        b"9 path=ab", b"\xb2 path=a\n", b"10", b" path=a\n", b"7 path=\n\n",
    ],
)  # fmt: skip
def test_malformed_extended_headers_are_refused(records: bytes) -> None:
    with pytest.raises(ShardError, match="malformed|in place of a number"):
        read(header(b"PaxHeader", len(records), b"x") + block(records) + GOOD + END)


@pytest.mark.parametrize("size", [b"-5", b"x", b"1e9", b"99999999999999999999", b"1" * 30, b"\xd9\xa3"])
def test_sizes_of_extended_headers_are_checked_too(size: bytes) -> None:
    with pytest.raises(ShardError, match="in place of a number|cut or damaged inside `a.mp4`"):
        read(pax({b"size": size}) + GOOD + END)


@pytest.mark.parametrize("key", [b"path", b"size"])
def test_a_global_header_cannot_rename_every_member(key: bytes) -> None:
    assert read(pax({b"comment": b"from git"}, b"g") + GOOD + END) == {"a.mp4": b"good"}
    with pytest.raises(ShardError, match=f"a global header sets the {key.decode()} of every member"):
        read(pax({key: b"1"}, b"g") + GOOD + END)


def test_long_headers_are_refused_before_they_are_read() -> None:
    with pytest.raises(ShardError, match="an extended header of 2000000 bytes"):
        read(header(b"PaxHeader", 2_000_000, b"x") + bytes(2_000_384) + END)


def test_an_endless_tail_of_zeros_ends() -> None:
    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    with pytest.raises(ShardError, match="nothing but zeros follows its end"):
        list(TarReader(Zeros()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (gzip.compress(tar(MEMBERS), mtime=0), r"gzip.*unpack it with `gunzip`"),
        (bz2.compress(tar(MEMBERS)), "bzip2"),
        (lzma.compress(tar(MEMBERS)), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "zstd"),
        (b"PK\x03\x04" + bytes(600), "zip"),
        (b"\x04\x22\x4d\x18" + bytes(600), "lz4.*`unlz4`"),
        (b"\x1f\x9d\x90" + bytes(600), "compress"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "7z"),
        (b"Rar!\x1a\x07" + bytes(600), "rar"),
        (gzip.compress(b"", mtime=0), "gzip"),
        (lzma.compress(tar(MEMBERS), format=lzma.FORMAT_ALONE), "lzma.*`unlzma`"),
        (b"LZIP\x01\x0c" + bytes(600), "lzip"),
        (b"\x89LZO\x00\r\n\x1a\n" + bytes(600), "lzop"),
        (b"\x50\x2a\x4d\x18\x04\x00\x00\x00" + bytes(600), "zstd"),
        (b"\x02\x21\x4c\x18" + bytes(600), "lz4"),
    ],
)
def test_compressed_files_are_not_taken_for_damaged_ones(data: bytes, kind: str) -> None:
    with pytest.raises(ShardError, match=f"compressed \\({kind}"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"x", b"text " * 300, bytes(range(256)) * 8, b"\x89PNG\r\n\x1a\n" + bytes(2000)])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(ShardError, match="not a tar, or damaged at byte 0|its end is missing"):
        read(data)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer.*`git lfs pull`"),
        (b"version https://git-lfs.github.com/spec/v1\n" + b" " * 600, "Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", "web page.*fetch the shard again"),
        (b'{"error": "not found"}', "JSON text, not a tar; fetch the shard again"),
        (b"PAR1" + bytes(600), "a Parquet table, not a tar"),
        (b"<Error><Code>AccessDenied</Code></Error>" * 20, "web page or other markup"),
    ],
)
def test_what_a_download_leaves_in_place_of_a_shard_is_named(data: bytes, what: str) -> None:
    with pytest.raises(ShardError, match=what):
        read(data)


def test_a_name_that_looks_like_markup_is_a_name() -> None:
    assert read(tar([("<a>.mp4", b"x")]))


def test_a_cut_anywhere_is_found() -> None:
    data = tar(MEMBERS)
    end = len(data.rstrip(b"\0"))
    end += -end % 512

    for cut in [*range(0, end, 61), *range(0, end + 1, 512)]:
        for known in (True, False):
            with pytest.raises(ShardError, match="fetch or write the shard again"):
                read(data[:cut], known)
    assert read(data[: end + 512]) == dict(MEMBERS)  # one block of zeros is an end


def test_damaged_headers_end_in_one_message() -> None:
    data = bytearray(tar(MEMBERS, tarfile.PAX_FORMAT))
    draw = random.Random(0)
    starts = [place for place in range(0, len(data) - 1024, 512)]

    for _ in range(3000):
        wrong = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            wrong[draw.choice(starts) + draw.randrange(512)] = draw.randrange(256)
        if draw.random() < 0.5:  # with a checksum that fits
            start = draw.choice(starts)
            wrong[start + 148 : start + 156] = b" " * 8
            wrong[start + 148 : start + 156] = b"%06o\0 " % sum(wrong[start : start + 512])
        try:
            read(bytes(wrong), draw.random() < 0.5)
        except ShardError:
            pass
