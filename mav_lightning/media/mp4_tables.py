"""Checks of MP4 and QuickTime files before FFmpeg reads them: sizes of sample tables, and our own checksum.

A table may claim any number of samples in a few bytes: FFmpeg took 2.9 GB for a file of 9 kB that claims 80 million
samples of no size. Every real sample has at least one byte.
"""

from typing import BinaryIO

import numpy as np

from mav_lightning.common.mp4_boxes import boxes
from mav_lightning.common.mp4_checksum import checksum_matches
from mav_lightning.media.limits import MediaError

__all__ = ["check_mp4"]

_FIELDS_OF_A_SAMPLE = (0x100, 0x200, 0x400, 0x800)  # flags of `trun`: 4 bytes each for every sample


def check_mp4(file: BinaryIO, size: int, name: str) -> bool:
    """Check a file without decoding it.

    Args:
        file: The file, opened for reading; its position is moved.
        size: File size in bytes.
        name: Name of the file, for messages.

    Returns:
        Whether the file holds a checksum, and it matches.

    Raises:
        MediaError: A table claims more samples than the file has bytes, or the file holds a checksum that does not
            match.
    """
    found = list(boxes(file, size))
    for box in found:
        if box.kind in (b"stsz", b"stz2", b"trun"):
            file.seek(box.content)
            claimed = _claimed_bytes(box.kind, file.read(min(box.end - box.content, size)))
            if claimed > size:
                raise MediaError(
                    f"{name}: cannot be decoded (a table claims {claimed} bytes, the file has {size}); re-encode or "
                    "remove the file."
                )
    matches = checksum_matches(file, found)
    if matches is False:
        raise MediaError(f"{name}: is damaged (its checksum differs); restore or remove the file.")
    return matches is True


def _claimed_bytes(kind: bytes, table: bytes) -> int:
    """Return the least number of bytes that the samples of a table take in the file."""
    if len(table) < 12:
        return 0
    flags, first, second = (int.from_bytes(table[at : at + 4]) for at in (0, 4, 8))
    if kind == b"stsz" and first == 0 and second <= (len(table) - 12) // 4:
        return int(np.frombuffer(table, ">u4", second, 12).sum(dtype=np.uint64))
    if kind == b"trun":
        of_a_sample = 4 * sum(bool(flags & field) for field in _FIELDS_OF_A_SAMPLE)
        return first * max(of_a_sample, 1)
    return second * (max(first, 1) if kind == b"stsz" else 1)
