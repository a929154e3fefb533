"""The size that Matroska and WebM files state, by which a download that was cut off is found.

FFmpeg reads the first part of such a file without an error. Recordings that were interrupted state no size.
"""

from typing import BinaryIO

from mav_lightning.media.limits import MediaError

__all__ = ["check_matroska", "stated_end"]

_SEGMENT = b"\x18\x53\x80\x67"
_HEAD = 1 << 16  # bytes, in which the segment begins


def check_matroska(file: BinaryIO, size: int, name: str) -> None:
    """Check that a file is as long as it states.

    Args:
        file: The file, opened for reading; its position is moved.
        size: File size in bytes.
        name: Name of the file, for messages.

    Raises:
        MediaError: It states more bytes than it has.
    """
    file.seek(0)
    end = stated_end(file.read(_HEAD))
    if end is not None and end > size:
        raise MediaError(
            f"{name}: states {end} bytes, but has {size}: cut off; fetch it again, or remux it to keep its first part."
        )


def stated_end(head: bytes) -> int | None:
    """Return the number of the byte behind the segment, which holds the film; None if the file does not state it.

    Args:
        head: First bytes of the file.
    """
    place = 0
    while place < len(head):
        name = head[place : place + _length(head[place])]
        place += len(name)
        if place >= len(head) or not (length := _length(head[place])):
            return None
        stated = int.from_bytes(head[place : place + length]) & ((1 << 7 * length) - 1)
        if stated == (1 << 7 * length) - 1:  # all bits set: not known
            return None
        place += length + stated
        if name == _SEGMENT:
            return place
    return None


def _length(first: int) -> int:
    """Return the number of bytes of an EBML number, which the zeros at the start of its first byte give; 0 if wrong."""
    return 9 - first.bit_length() if first else 0
