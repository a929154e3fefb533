"""Text from files: UTF-8 without byte order marks, lines that end at LF or CR LF only, composed characters.

Captions hold characters that `str.splitlines` splits at, such as U+2028, U+0085 and form feed. Composed characters
(NFC) make a name typed on one system equal to the same name listed by another.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import unreadable
from mav_lightning.common.signatures import known_as, posing_as_text
from mav_lightning.common.terminal import shorten

__all__ = ["beginning", "composed", "decode_text", "plain_text", "plain_texts", "read_lines", "read_text"]

_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_MARK = "\ufeff"  # byte order mark, which joined files and exports hold within, too
_LONGEST_LINE = 1 << 20  # bytes
_LARGEST_FILE = 1 << 30  # bytes


def composed(text: str) -> str:
    """Return text in Unicode form NFC: macOS writes accents in file names as separate characters, others do not.

    Bytes of a file name that are not UTF-8 are kept.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def decode_text(data: bytes) -> str:
    """Decode UTF-8 to composed characters, without byte order marks.

    Raises:
        UserError: The bytes are not UTF-8, or those of a web page or another file that is no plain text.
    """
    if (known := posing_as_text(data)) is not None:
        raise UserError(f"not plain text, but {known}.")
    return _decoded(data)


def read_text(path: Path, missing: str) -> str:
    """Read a whole text file.

    Args:
        path: The file.
        missing: Message for a missing file, after its path.

    Raises:
        UserError: The file is missing, too large, unreadable or not UTF-8.
    """
    if not path.is_file():
        raise UserError(f"{path}: {missing}.")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UserError(f"more than {_LARGEST_FILE} bytes; is it the right file?")
        return decode_text(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_lines(path: Path, missing: str, longest: int = _LONGEST_LINE) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and the line without its end; a few lines of any file take little memory.

    Args:
        path: The file, which need not be a regular one.
        missing: Message for a missing file, after its path.
        longest: Largest size of a line in bytes.

    Raises:
        UserError: The file is missing, unreadable or not UTF-8, a line is too long, or holds CR alone.
    """
    if not path.exists() or path.is_dir():
        raise UserError(f"{path}: {missing}.")
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(longest + 1), b""), start=1):
                if len(line) > longest:
                    raise UserError(f"{path}: line {number} has more than {longest} bytes; is it the right file?")
                yield number, _line(path, number, line)
    except OSError as error:
        raise unreadable(path, error) from error


def beginning(value: Any) -> str:
    """Return the first characters of plain data, for messages."""
    try:
        return str(value)[:80]
    except RecursionError:
        return "something nested too deeply"


def plain_text(value: Any) -> str | None:
    """Return a caption that JSON stores as text, as a number or as a list of these.

    The first text of a list counts that is not blank.

    Args:
        value: The value. None, NaN, which tools write for missing values, and an empty list mean no text.

    Raises:
        UserError: The value is something else.
    """
    texts = plain_texts(value)
    return next((text for text in texts if text.strip()), texts[0] if texts else None)


def plain_texts(value: Any) -> list[str]:
    """Return all captions that JSON stores as text, as a number or as a list of these; see `plain_text`.

    Raises:
        UserError: The value is something else.
    """
    values = value if isinstance(value, list) else [value]
    return [text for text in map(_scalar_text, values) if text is not None]


def _scalar_text(value: Any) -> str | None:
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        if wrong := _NO_TEXT.search(value):  # no tokenizer and no encoding takes half of a character
            what = "a NUL" if wrong[0] == "\0" else "half of a character"
            raise UserError(f"holds {what} ({shorten(beginning(value))}); write it as UTF-8.")
        return composed(value.replace(_MARK, ""))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == int(value) else str(value)
    raise UserError(f"must be text or a list of texts, got {beginning(value)}.")


def _line(path: Path, number: int, line: bytes) -> str:
    line = line.removesuffix(b"\n").rstrip(b"\r")
    try:
        text = decode_text(line) if number == 1 else _decoded(line)
    except UserError as error:
        raise UserError(f"{path}: line {number}: {error}") from error
    if "\r" in text:
        raise UserError(
            f"{path}: line {number} holds CR alone, which ended lines on old Macs; save it with LF or CR LF."
        )
    return text


def _decoded(data: bytes) -> str:
    try:
        if b"\0" in data and data[:2] not in _UTF_16:
            raise UserError(f"not UTF-8 ({known_as(data) or 'NUL characters, as in UTF-16'}); save it as UTF-8.")
        return composed(data.decode().replace(_MARK, ""))
    except UnicodeDecodeError as error:
        kind = "UTF-16" if data[:2] in _UTF_16 else known_as(data) or f"{error.reason} at byte {error.start}"
        raise UserError(f"not UTF-8 ({kind}); save it as UTF-8.") from error
