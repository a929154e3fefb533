"""Text of users: UTF-8, and lines that end where an editor shows their end."""

from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.text_files import decode_text, plain_text, read_lines, read_text

INSIDE = ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1d", "\x1e", "\xa0", "\u3000"]


@pytest.mark.parametrize("inside", INSIDE, ids=ascii)
def test_only_lf_and_cr_lf_end_a_line(tmp_path: Path, inside: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"a{inside}b\r\nc\n\n{inside}d".encode())

    assert list(read_lines(path, "missing")) == [(1, f"a{inside}b"), (2, "c"), (3, ""), (4, f"{inside}d")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfa\n", "a\n"), (b"", ""), ("é".encode(), "é"), ("e\u0301".encode(), "é"),
        ("猫".encode(), "猫"), ("👩‍👩‍👧".encode(), "👩‍👩‍👧"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa\n\xef\xbb\xbfb", "a\nb"),
    ],
)  # fmt: skip
def test_text_is_utf8_without_its_mark_and_composed(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)

    assert decode_text(data) == read_text(tmp_path / "a", "missing") == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a".encode("utf-16"), r"not UTF-8 \(UTF-16\); save it as UTF-8"),
        (b"\xfe\xff\0a", r"not UTF-8 \(UTF-16\)"),
        (b"caf\xe9", r"not UTF-8 \(unexpected end of data at byte 3\)|not UTF-8 \(invalid"),
        ("a cat".encode("utf-16-le"), r"not UTF-8 \(NUL characters, as in UTF-16\)"),
        ("a cat".encode("utf-16-be"), r"not UTF-8 \(NUL characters, as in UTF-16\)"),
        (b"a\0b", r"not UTF-8 \(NUL characters, as in UTF-16\)"),
        (b"\x1f\x8b\x08\x00", r"not UTF-8 \(compressed \(gzip\); unpack it with `gunzip`\)"),
        (
            b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml",
            "a spreadsheet or another Office document; export a table",
        ),
        (
            b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "export a table as CSV",
        ),
        (b"PK\x03\x04\x14\x00", r"not UTF-8 \(compressed \(zip\); unpack it with `unzip`\)"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b"\xc0\xaf", "not UTF-8"),
    ],
)
def test_other_encodings_are_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"fine\n" + data)

    with pytest.raises(UserError, match=message):
        decode_text(data)
    with pytest.raises(UserError, match=r"a: line 2: not UTF-8"):
        list(read_lines(tmp_path / "a", "missing"))
    with pytest.raises(UserError, match=r"a: not UTF-8"):
        read_text(tmp_path / "a", "missing")


@pytest.mark.parametrize("head", [b"PK\x03\x04\x14\0\0\0\r\x07", b"PK\x03\x04\r\0\x80\n"])
def test_archives_are_not_taken_for_lines_of_old_macs(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(head)

    with pytest.raises(UserError, match=r"a.csv: line 1: not UTF-8 \(compressed \(zip\); unpack it with `unzip`\)"):
        list(read_lines(tmp_path / "a.csv", "missing"))


@pytest.mark.parametrize(("data", "line"), [(b"a\rb\rc", 1), (b"a\rb\n", 1), (b"a\nb\rc\n", 2)])
def test_lines_of_old_macs_are_named(tmp_path: Path, data: bytes, line: int) -> None:
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(UserError, match=f"line {line} holds CR alone, which ended lines on old Macs; save it with LF"):
        list(read_lines(tmp_path / "a", "missing"))


def test_line_ends_that_were_converted_twice_end_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\r\r\nb\r\r\n")

    assert list(read_lines(tmp_path / "a", "missing")) == [(1, "a"), (2, "b")]


def test_marks_of_joined_files_are_no_text(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a").write_bytes(mark + mark + b"a\n" + mark + b"b\n" + mark + b"\n")

    assert list(read_lines(tmp_path / "a", "missing")) == [(1, "a"), (2, "b"), (3, "")]
    assert plain_text("\ufeffa") == "a"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>\n", "a web page"),
        (b"\xef\xbb\xbf\n<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer; fetch the file with `git lfs pull`"),
        (b"{\\rtf1\\ansi a cat}", r"a text with formatting \(RTF\)"),
    ],
)
def test_what_a_download_leaves_in_place_of_a_text_is_named(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(UserError, match=f"not plain text, but {what}"):
        decode_text(data)
    with pytest.raises(UserError, match=f"a: not plain text, but {what}"):
        read_text(tmp_path / "a", "missing")


def test_halves_of_characters_and_nul_are_no_text() -> None:
    for value, what in (("a\ud83d", "half of a character"), ("a\0", "a NUL")):
        with pytest.raises(UserError, match=f"holds {what} "):
            plain_text(value)


def test_missing_and_endless_files_are_refused(tmp_path: Path) -> None:
    for call in (lambda path: read_text(path, "no such table"), lambda path: list(read_lines(path, "no such table"))):
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(UserError, match=f"{path}: no such table"):
                call(path)
    with pytest.raises(UserError, match="line 1 has more than 1048576 bytes; is it the right file"):
        list(read_lines(Path("/dev/zero"), "missing"))
    with pytest.raises(UserError, match="missing"):
        read_text(Path("/dev/zero"), "missing")


def test_values_of_json_that_are_no_text_are_refused() -> None:
    assert [plain_text(value) for value in ("a", 3, None, [None, "b"], [])] == ["a", "3", None, "b", None]
    for value in ({}, {"a": 1}, True, [True], [[]], [{}]):
        with pytest.raises(UserError, match="must be text or a list of texts, got "):
            plain_text(value)
