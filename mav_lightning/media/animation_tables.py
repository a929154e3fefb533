"""Durations of the pictures of animated GIF, WebP and PNG files, read from their blocks without decoding."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mav_lightning.media.container import MediaFile
from mav_lightning.media.limits import MediaError, MediaLimits

__all__ = ["AnimationTable", "read_animation_table"]

_COLOR_TABLE = 0x80  # flag of GIF: a color table follows


@dataclass(frozen=True)
class AnimationTable:
    """Frame table of an animation.

    Attributes:
        width: Largest width of the canvas and the pictures in pixels.
        height: Largest height in pixels.
        durations: How long each picture is shown, in milliseconds as stored, at least one.
        clock: Unit of the durations in milliseconds.
        first: Number of the first picture of the animation: 1 if Pillow counts a still before it, as PNG may have.
    """

    width: int
    height: int
    durations: tuple[float, ...]
    clock: float
    first: int = 0


def read_animation_table(file: MediaFile, limits: MediaLimits) -> AnimationTable:
    """Read the table of an animation.

    Raises:
        MediaError: The file is damaged or holds too many or too large pictures.
    """
    read = {"GIF": _gif, "WEBP": _webp, "PNG": _png}[file.format.library_name]
    file.file.seek(0)
    try:
        table = read(file.file, limits, file.name)
    except (struct.error, EOFError) as error:
        raise MediaError(f"{file.name}: cannot be decoded (cut off); re-encode or remove the file.") from error
    file.file.seek(0)
    if not table.durations:
        raise MediaError(f"{file.name}: holds no pictures; remove the file.")
    limits.check_size(file.name, table.width, table.height)
    return table


def _gif(file: BinaryIO, limits: MediaLimits, name: str) -> AnimationTable:
    _, width, height, flags, _, _ = struct.unpack("<6sHHBBB", _exactly(file, 13))
    _skip_color_table(file, flags)
    durations, duration = list[float](), 0
    while (kind := _exactly(file, 1)) != b";":
        if kind == b"!":
            label = _exactly(file, 1)
            first = next(blocks := _gif_blocks(file), b"")
            if label == b"\xf9" and len(first) >= 4:
                duration = 10 * struct.unpack_from("<H", first, 1)[0]
            for _ in blocks:
                pass
        elif kind == b",":
            left, top, across, down, flags = struct.unpack("<HHHHB", _exactly(file, 9))
            width, height = max(width, left + across), max(height, top + down)
            _skip_color_table(file, flags)
            _exactly(file, 1)
            for _ in _gif_blocks(file):
                pass
            durations.append(duration)
            duration = 0
            limits.check_frames(name, len(durations))
        else:
            raise MediaError(f"{name}: cannot be decoded (damaged between frames); re-encode or remove the file.")
    return AnimationTable(width, height, tuple(durations), 10)


def _gif_blocks(file: BinaryIO) -> Iterator[bytes]:
    while size := _exactly(file, 1)[0]:
        yield _exactly(file, size)


def _skip_color_table(file: BinaryIO, flags: int) -> None:
    if flags & _COLOR_TABLE:
        _exactly(file, 3 << ((flags & 7) + 1))


def _webp(file: BinaryIO, limits: MediaLimits, name: str) -> AnimationTable:
    _, length, _ = struct.unpack("<4sI4s", _exactly(file, 12))
    if file.seek(0, io.SEEK_END) < 8 + length:
        raise EOFError
    file.seek(12)
    width = height = 0
    durations = list[float]()
    while (begin := file.tell() + 8) <= 8 + length:
        kind, size = struct.unpack("<4sI", _exactly(file, 8))
        if kind == b"VP8X":
            content = _exactly(file, 10)
            width, height = 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:], "little")
        elif kind == b"ANMF":
            durations.append(int.from_bytes(_exactly(file, 16)[12:15], "little"))
            limits.check_frames(name, len(durations))
        file.seek(begin + size + size % 2)
    return AnimationTable(width, height, tuple(durations), 1)


def _png(file: BinaryIO, limits: MediaLimits, name: str) -> AnimationTable:
    _exactly(file, 8)
    width = height = first = 0
    durations = list[float]()
    kind = b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", _exactly(file, 8))
        begin = file.tell()
        if kind == b"IHDR":
            width, height = struct.unpack(">II", _exactly(file, 8))
        elif kind == b"IDAT" and not durations:
            first = 1  # shown by programs that know no animation
        elif kind == b"fcTL":
            _, across, down, left, top, delay, unit = struct.unpack(">IIIIIHH", _exactly(file, 24))
            width, height = max(width, left + across), max(height, top + down)
            durations.append(1000 * delay / (unit or 100))
            limits.check_frames(name, len(durations))
        file.seek(begin + size + 4)
    return AnimationTable(width, height, tuple(durations), 1, first)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
