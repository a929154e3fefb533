"""Checksums of FFV1, the lossless codec of our results: FFmpeg logs that one differs and returns the wrong frame."""

import zlib
from collections.abc import Sequence

__all__ = ["damaged_packets", "has_valid_slices"]

_TRAILER = 8  # bytes after each slice: its size (3), its status (1) and its CRC-32 (4)
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # FFV1 takes bits from the other end than zlib
_NO_REST = 0xFFFFFFFF  # what zlib's CRC, which starts and ends inverted, gives where FFV1's leaves 0


def damaged_packets(intact: Sequence[bool]) -> list[int]:
    """Return the numbers of packets with wrong checksums; none if the stream has no checksums.

    Args:
        intact: `has_valid_slices` of each packet.
    """
    return [number for number, right in enumerate(intact) if not right] if any(intact) else []


def has_valid_slices(packet: bytes) -> bool:
    """Return whether a packet consists of slices with right checksums, as FFV1 version 3 writes them by default.

    References:
        RFC 9043, FFV1 Video Coding Format Versions 0, 1, and 3, §4.8: slice footer.

    Args:
        packet: Encoded frame.
    """
    end = len(packet)
    while end >= _TRAILER:
        begin = end - _TRAILER - int.from_bytes(packet[end - _TRAILER : end - _TRAILER + 3])
        if begin < 0 or zlib.crc32(packet[begin:end].translate(_MIRRORED), _NO_REST) != _NO_REST:
            return False
        end = begin
    return end == 0
