"""Files in an uncompressed tar, in order, from a file on disk or from a stream as it arrives.

Headers are parsed by tarfile, and the walk is our own: tarfile loops forever on a negative size, raises six kinds of
exceptions on damaged headers, takes a cut between two members for the end, and reads sparse members as if dense. Here
every step moves forward within the file, and whatever is wrong is a `ShardError`.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mav_lightning.common.errors import UserError
from mav_lightning.common.signatures import known_as
from mav_lightning.common.terminal import shorten

__all__ = ["ByteStream", "ShardError", "TarMember", "TarReader"]

_BLOCK = 512
_CHUNK = 1 << 20
_MOST_ZEROS = 1 << 15  # blocks; tar writes records of up to 2048 blocks
_LONGEST_HEADER = 1 << 20  # bytes of a long name or of extended attributes
_NO_FILES = {
    tarfile.SYMTYPE: "a symbolic link; write the shard with `tar --dereference`",
    tarfile.LNKTYPE: "a hard link; write the shard with `tar --hard-dereference`",
    tarfile.CHRTYPE: "a device, not a file",
    tarfile.BLKTYPE: "a device, not a file",
    tarfile.FIFOTYPE: "a pipe, not a file",
    b"M": "a part of an archive of several volumes",
}
_SPARSE = "stored sparse; write the shard with `tar` without --sparse"
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (*b"123456",)


class ByteStream(Protocol):
    """Protocol of a stream of bytes that is read forward only."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class ShardError(UserError):
    """A shard that cannot be read to its end; the message does not name it."""


@dataclass(frozen=True)
class TarMember:
    """One member of a tar.

    Attributes:
        name: Name as stored. It is untrusted and never used as a path.
        offset: Position of its data in bytes.
        size: Size of its data in bytes.
        problem: Why its data is not that of a file, for example that it is a link. None for files.
    """

    name: str
    offset: int
    size: int
    problem: str | None = None


class TarReader:
    """Walk over the members of a tar that are no directories; their data can be read on the way.

    An archive that follows the end of the first one (``cat a.tar b.tar``) is read as well.

    Args:
        stream: The tar, at its beginning.
        size: Size of the tar in bytes. None if it is not known.
        skip: Moves the stream forward by a number of bytes without reading them. None if it cannot.

    Example:
        ``{member.name: reader.data() for member in reader}``
    """

    def __init__(
        self, stream: ByteStream, size: int | None = None, skip: Callable[[int], object] | None = None
    ) -> None:
        self._stream, self._size, self._seek = stream, size, skip
        self._position = 0
        self._data, self._padding = 0, 0  # bytes of the current member that are not read yet
        self._name = ""

    def __iter__(self) -> Iterator[TarMember]:
        """Yield the members.

        Raises:
            ShardError: The tar is compressed, damaged, or cut.
        """
        changes: dict[str, str] = {}
        zeros = 0  # blocks of zeros in a row, which end an archive
        while header := self._block():
            zeros = 0 if header.strip(b"\0") else zeros + 1
            if zeros > _MOST_ZEROS:
                raise self._damaged("nothing but zeros follows its end")
            if zeros:
                continue
            info = self._parse(header)
            if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                changes |= self._attributes()
            elif info.type == tarfile.XGLTYPE:
                self._check_global(self._attributes())
            elif info.type == tarfile.GNUTYPE_LONGNAME:
                changes["path"] = _text(self._header_data().partition(b"\0")[0])
            elif info.type == tarfile.GNUTYPE_LONGLINK:
                self._header_data()
            else:
                member = self._member(info, header, changes)
                changes = {}
                if info.type not in (tarfile.DIRTYPE, b"D", b"V"):
                    yield member
        if not zeros:
            raise ShardError("cut or damaged, its end is missing; fetch or write the shard again.")

    def data(self) -> bytes:
        """Read the data of the member that was yielded last, or what is left of it.

        Raises:
            ShardError: The tar ends before it.
        """
        size, self._data = self._data, 0
        return self._take(size)

    def _block(self) -> bytes:
        """Return the next header block; empty at the end of the tar."""
        self._skip(self._data + self._padding)
        self._data = self._padding = 0
        block = self._read(_BLOCK)
        if 0 < len(block) < _BLOCK and block.strip(b"\0"):
            raise self._no_header(block, "a header is cut")
        return block.ljust(_BLOCK, b"\0") if block else b""

    def _parse(self, header: bytes) -> tarfile.TarInfo:
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._no_header(header, str(error)) from error
        self._claim(info.name, 0 if info.type[0] in _WITHOUT_DATA else info.size)
        return info

    def _claim(self, name: str, size: int) -> None:
        """Note the size of the data that follows, which a header states and nothing proves."""
        self._name, self._data, self._padding = shorten(name), size, -size % _BLOCK
        if size < 0:
            raise self._damaged(f"`{self._name}` has a size of {size} bytes")
        if self._size is not None and self._position + size > self._size:
            raise ShardError(f"cut or damaged inside `{self._name}` ({size} bytes); fetch or write the shard again.")

    def _member(self, info: tarfile.TarInfo, header: bytes, changes: dict[str, str]) -> TarMember:
        problem = _NO_FILES.get(info.type)
        if problem is None and info.type not in (*_REGULAR, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, b"D", b"V"):
            problem = f"of the unknown type {info.type!r}"
        if info.type == tarfile.GNUTYPE_SPARSE:
            more = header[482]
            while more:
                more = self._take(_BLOCK)[504]
            self._claim(info.name, info.size)
        if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in changes):
            problem = _SPARSE
        name = changes.get("path", info.name)
        if "size" in changes and info.type[0] not in _WITHOUT_DATA:
            self._claim(name, self._number(changes["size"]))
        self._name = shorten(name)
        return TarMember(name, self._position, self._data, problem)

    def _attributes(self) -> dict[str, str]:
        """Return the records ``<length> <key>=<value>`` of an extended header."""
        data, found, at = self._header_data(), dict[str, str](), 0
        while at < len(data) and data[at]:
            space = data.find(b" ", at, at + 20)
            end = at + self._number(_text(data[at:space]) if space > at else "")
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if not space < end - 1 < len(data) or data[end - 1 : end] != b"\n" or not equals:
                raise self._damaged("an extended header is malformed")
            found[_text(key)] = _text(value)
            at = end
        return found

    def _check_global(self, attributes: dict[str, str]) -> None:
        if wrong := attributes.keys() & {"path", "size"}:
            raise self._damaged(f"a global header sets the {wrong.pop()} of every member")

    def _number(self, text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise self._damaged(f"an extended header holds `{text[:20]}` in place of a number")
        return int(text)

    def _header_data(self) -> bytes:
        if self._data > _LONGEST_HEADER:
            raise self._damaged(f"an extended header of {self._data} bytes")
        return self.data()

    def _no_header(self, block: bytes, reason: str) -> ShardError:
        """Return the error of a block that is no header: at the beginning, the file may be something else."""
        known = known_as(block) if self._position <= _BLOCK else None
        if known is None:
            return self._damaged(reason)
        return ShardError(f"{known}." if known.endswith("`") else f"{known}, not a tar; fetch the shard again.")

    def _damaged(self, reason: str) -> ShardError:
        where = max(self._position - _BLOCK, 0)
        return ShardError(f"not a tar, or damaged at byte {where} ({reason}); fetch or write the shard again.")

    def _skip(self, size: int) -> None:
        if self._seek is not None:
            self._seek(size)
            self._position += size
            return
        while size:
            size -= len(self._take(min(size, _CHUNK)))

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise ShardError(f"cut or damaged inside `{self._name}`; fetch or write the shard again.")
        return data

    def _read(self, size: int) -> bytes:
        """Read `size` bytes, or what is left; memory grows with what arrives, not with what a header states."""
        parts = []
        most = _CHUNK if self._size is None else size  # a known size has been checked
        while size and (part := self._stream.read(min(size, most))):
            parts.append(part)
            size -= len(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
