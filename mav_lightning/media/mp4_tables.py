"""Check of the sample tables of MP4 and QuickTime files before FFmpeg builds its index from them.

A table may claim any number of samples in a few bytes: FFmpeg took 2.9 GB for a file of 9 kB that claims 80 million
samples of no size. Every real sample has at least one byte.
"""

from collections.abc import Iterator
from typing import BinaryIO

from mav_lightning.media.limits import MediaError

__all__ = ["check_sample_tables"]

_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
_MAX_DEPTH = 8
_MAX_BOXES = 1 << 20
_FIELDS_OF_A_SAMPLE = (0x100, 0x200, 0x400, 0x800)  # flags of `trun`: 4 bytes each for every sample


def check_sample_tables(file: BinaryIO, size: int, name: str) -> None:
    """Raise a `MediaError` if a table claims more samples than the file has bytes.

    Args:
        file: The file, opened for reading; its position is moved.
        size: File size in bytes.
        name: Name of the file, for the message.
    """
    for kind, first in _boxes(file, 0, size, 0):
        if kind not in (b"stsz", b"stz2", b"trun"):
            continue
        file.seek(first)
        claimed = _claimed_bytes(kind, file.read(12))
        if claimed > size:
            raise MediaError(
                f"{name}: cannot be decoded (its sample table claims {claimed} bytes, the file has {size}); re-encode "
                "or remove the file."
            )


def _claimed_bytes(kind: bytes, head: bytes) -> int:
    """Return the least number of bytes that the samples of a table take in the file."""
    if len(head) < 12:
        return 0
    flags, first, second = (int.from_bytes(head[at : at + 4]) for at in (0, 4, 8))
    if kind == b"trun":
        of_a_sample = 4 * sum(bool(flags & field) for field in _FIELDS_OF_A_SAMPLE)
        return first * max(of_a_sample, 1)
    return second * (max(first, 1) if kind == b"stsz" else 1)


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    """Yield (kind, first byte of the content) of all boxes, at any depth."""
    position, count = start, 0
    while position + 8 <= end and count < _MAX_BOXES:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, content = int.from_bytes(head[:4]), head[4:8], position + 8
        if length == 1 and len(head) == 16:
            length, content = int.from_bytes(head[8:]), position + 16
        stop = end if length == 0 else min(position + length, end)
        if stop < content:
            return
        yield kind, content
        if kind in _CONTAINERS and depth < _MAX_DEPTH:
            yield from _boxes(file, content, stop, depth + 1)
        position, count = stop, count + 1
