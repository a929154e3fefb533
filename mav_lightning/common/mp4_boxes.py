"""The boxes that MP4 and QuickTime files consist of."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["Box", "boxes"]

_PARENTS = frozenset((b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
_MAX_DEPTH = 8
_MAX_BOXES = 1 << 20


class Box(NamedTuple):
    """One box.

    Attributes:
        kind: Four characters.
        begin: Position of its first byte in the file.
        content: Position of the first byte after its header.
        end: Position after its last byte.
    """

    kind: bytes
    begin: int
    content: int
    end: int


def boxes(file: BinaryIO, size: int) -> Iterator[Box]:
    """Yield the boxes of a file and, after each, those inside it; stop at the first that is no box.

    Args:
        file: The file, opened for reading; its position is moved.
        size: File size in bytes.
    """
    return _boxes(file, 0, size, 0)


def _boxes(file: BinaryIO, begin: int, end: int, depth: int) -> Iterator[Box]:
    for _ in range(_MAX_BOXES):
        if begin + 8 > end:
            return
        file.seek(begin)
        head = file.read(16)
        length, kind, content = int.from_bytes(head[:4]), head[4:8], begin + 8
        if length == 1:
            length, content = int.from_bytes(head[8:]), begin + 16
        stop = end if length == 0 else min(begin + length, end)
        if stop < content:
            return
        yield Box(kind, begin, content, stop)
        if kind in _PARENTS and depth < _MAX_DEPTH:
            yield from _boxes(file, content, stop, depth + 1)
        begin = stop
