"""A checksum inside MP4 files of this project, since H.264 has none.

Of the one-byte errors in H.264, up to a third give other frames that no decoder can tell from the right ones. A box of
our own at the end of the file holds the CRC-32 of the encoded frames and of the tables of their places and times. Other
programs pass over it; it stays when metadata are edited or a signature is added, and is lost when frames are copied
into another file.
"""

import io
import zlib
from typing import BinaryIO

from mav_lightning.common.mp4_boxes import Box, boxes

__all__ = ["checksum_matches", "with_checksum"]

_ID = bytes.fromhex("6d61762d6c696768746e696e67637263")
_COVERED = frozenset((b"mdat", b"mdhd", b"elst", b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz"))
_AT_ONCE = 1 << 20


def with_checksum(data: bytes) -> bytes:
    """Return an MP4 file with the checksum of its frames."""
    file = io.BytesIO(data)
    checksum = _checksum(file, list(boxes(file, len(data))))
    box = b"uuid" + _ID + checksum.to_bytes(4)
    return data + (len(box) + 4).to_bytes(4) + box


def checksum_matches(file: BinaryIO, found: list[Box]) -> bool | None:
    """Return whether the frames of an MP4 file are those that were written; None if it holds no checksum.

    Args:
        file: The file, opened for reading; its position is moved.
        found: Boxes of the file.
    """
    for box in found:
        if box.kind == b"uuid":
            file.seek(box.content)
            content = file.read(len(_ID) + 4)
            if content.startswith(_ID):
                return content[len(_ID) :] == _checksum(file, found).to_bytes(4)
    return None


def _checksum(file: BinaryIO, found: list[Box]) -> int:
    checksum = 0
    for box in found:
        if box.kind in _COVERED:
            checksum = zlib.crc32(box.kind, checksum)
            file.seek(box.content)
            left = box.end - box.content
            while left > 0 and (some := file.read(min(left, _AT_ONCE))):
                checksum, left = zlib.crc32(some, checksum), left - len(some)
    return checksum
