"""Headers of H.264 that declare pictures one row of macroblocks taller; see `mav_lightning.media.h264_slices`.

References:
    ITU-T H.264, §7.3.2.1.1: sequence parameter set; ISO/IEC 14496-15, §5.3.3: decoder configuration record.
"""

from collections.abc import Iterator

__all__ = ["resets_references", "taller_header", "taller_packet"]

_SPS = 7  # type of a sequence parameter set
_IDR = 5  # type of a slice of a picture behind which nothing refers to what was before
_START = b"\x00\x00\x01"
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139))
_RECORD = 6  # bytes before the first parameter set of a decoder configuration record
_MOST_ZEROS = 32  # in a number of variable length


class _Unreadable(ValueError):
    """A parameter set that is damaged, or of interlaced video."""


class _Bits:
    """Bits of a parameter set, read in order."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def number(self, count: int) -> int:
        """Read a number of `count` bits."""
        if self.at + count > len(self.bits):
            raise _Unreadable
        self.at += count
        return int(self.bits[self.at - count : self.at] or "0", 2)

    def code(self) -> int:
        """Read an unsigned number of variable length."""
        zeros = self.bits.find("1", self.at) - self.at
        if not 0 <= zeros <= _MOST_ZEROS:
            raise _Unreadable
        return self.number(2 * zeros + 1) - 1

    def signed(self) -> int:
        """Read a signed number of variable length."""
        found = self.code()
        return (found + 1) // 2 if found % 2 else -(found // 2)


def taller_header(extradata: bytes) -> bytes | None:
    """Return the header of a stream with taller pictures; None if it has no parameter set or may be interlaced.

    Args:
        extradata: A decoder configuration record, as in MP4 and Matroska, or parameter sets after start codes.
    """
    try:
        if not extradata.startswith(b"\x01"):
            return _taller_after_start_codes(extradata)
        head, at = bytearray(extradata[:_RECORD]), _RECORD
        for _ in range(extradata[_RECORD - 1] & 31):
            end = at + 2 + int.from_bytes(extradata[at : at + 2])
            taller = _taller(extradata[at + 2 : end])
            head += len(taller).to_bytes(2) + taller
            at = end
        return bytes(head) + extradata[at:] if at > _RECORD else None
    except (_Unreadable, IndexError):
        return None


def taller_packet(data: bytes, length_size: int) -> bytes | None:
    """Return a packet with taller pictures; None if it holds no parameter set of its own.

    Args:
        data: The packet.
        length_size: Bytes of the length before each of its units. 0 if they follow start codes.
    """
    try:
        if not length_size:
            return _taller_after_start_codes(data)
        units = list(_units(data, length_size))
        if all(_type(unit) != _SPS for unit in units):
            return None
        units = [_taller(unit) if _type(unit) == _SPS else unit for unit in units]
        return b"".join(len(unit).to_bytes(length_size) + unit for unit in units)
    except (_Unreadable, OverflowError):
        return None


def resets_references(data: bytes, length_size: int) -> bool:
    """Return whether no picture from a packet on refers to one before; see `taller_packet` for the arguments."""
    return any(_type(unit) == _IDR for unit in _units(data, length_size))


def _units(data: bytes, length_size: int) -> Iterator[bytes]:
    if not length_size:
        yield from data.split(_START)[1:]
    at = 0
    while 0 < length_size <= len(data) - at:
        end = at + length_size + int.from_bytes(data[at : at + length_size])
        yield data[at + length_size : end]
        at = end


def _type(unit: bytes) -> int:
    return unit[0] & 31 if unit else 0


def _taller_after_start_codes(data: bytes) -> bytes | None:
    first, *units = data.split(_START)
    if all(_type(unit) != _SPS for unit in units):
        return None
    return _START.join(
        (first, *(_taller(unit.rstrip(b"\0")) + b"\0" if _type(unit) == _SPS else unit for unit in units))
    )


def _taller(unit: bytes) -> bytes:
    """Return a sequence parameter set with one more row of macroblocks."""
    bits = _Bits(unit.replace(b"\0\0\3", b"\0\0"))
    _pass_to_height(bits)
    begin = bits.at
    rows, end = bits.code() + 1, bits.at
    if not bits.number(1):
        raise _Unreadable  # fields or frames of both kinds, of which FFmpeg marks none
    code = f"{rows + 1:b}"
    changed = (bits.bits[:begin] + "0" * (len(code) - 1) + code + bits.bits[end:]).rstrip("0")
    changed += "0" * (-len(changed) % 8)
    return _escaped(int(changed, 2).to_bytes(len(changed) // 8))


def _pass_to_height(bits: _Bits) -> None:
    """Read what precedes the height in a sequence parameter set."""
    bits.number(8)
    profile = bits.number(8)
    bits.number(16)
    bits.code()
    if profile in _HIGH_PROFILES:
        _pass_chroma(bits)
    bits.code()
    order = bits.code()
    if order == 0:
        bits.code()
    elif order == 1:
        bits.number(1)
        for _ in range(2):
            bits.code()
        for _ in range(bits.code()):
            bits.code()
    bits.code()
    bits.number(1)
    bits.code()


def _pass_chroma(bits: _Bits) -> None:
    """Read the fields of the high profiles."""
    chroma = bits.code()
    bits.number(int(chroma == 3))
    bits.code()
    bits.code()
    bits.number(1)
    if bits.number(1):
        for matrix in range(12 if chroma == 3 else 8):
            if bits.number(1):
                last = following = 8
                for _ in range(16 if matrix < 6 else 64):
                    following = (last + bits.signed()) % 256 if following else 0
                    last = following or last


def _escaped(data: bytes) -> bytes:
    """Insert the bytes that keep a unit free of start codes."""
    found, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            found.append(3)
            zeros = 0
        found.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(found)
