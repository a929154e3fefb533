"""Films whose frames tell their numbers, in the containers, codecs and with the time stamps that people have."""

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

STEP = 6  # grey levels between frames: more than any codec here changes
Frames = NDArray[np.uint8]


def numbered(frames: int = 32, height: int = 48, width: int = 64) -> Frames:
    """Frame i is grey of level 20 + STEP · (i mod 37), with a red upper left corner."""
    levels = 20 + STEP * (np.arange(frames) % 37)
    film = np.broadcast_to(levels[:, None, None, None], (frames, height, width, 3)).astype(np.uint8)
    film[:, : height // 4, : width // 4] = (255, 0, 0)
    return film


def numbers(frames: Frames | Sequence[Frames]) -> list[int]:
    """Which frames of a film these are, whatever way they are turned."""
    levels = [float(np.median(frame[..., 1])) for frame in frames]
    return [round((level - 20) / STEP) for level in levels]


def make_film(
    frames: Frames | int = 32,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    fps: float = 24,
    times: Sequence[float] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    setup: Callable[[Any, Any], None] = lambda output, stream: None,
    before: Callable[[Any], None] = lambda output: None,
) -> bytes:
    """Encode a film.

    Args:
        frames: The frames, or how many numbered ones.
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        fps: Frames per second, nominal if there are `times`.
        times: When each frame is shown, in seconds. None for equal intervals.
        time_base: Seconds per tick of the encoder.
        pixels: Pixel format.
        options: Options of the encoder.
        container_options: Options of the container format.
        setup: Called with the container and the stream before the first frame.
        before: Called with the container before the stream is added.
    """
    film, buffer = numbered(frames) if isinstance(frames, int) else frames, io.BytesIO()
    with av.open(buffer, "w", format=container, container_options=container_options or {}) as output:
        before(output)
        stream: Any = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options or {})
        stream.height, stream.width = film.shape[1:3]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = time_base
        setup(output, stream)
        for number, pixel in enumerate(film):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixel), format="rgb24")
            if times is not None:
                frame.time_base, frame.pts = time_base, round(times[number] / time_base)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def with_matrix(mp4: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """Write a display matrix into the first track of an MP4: (x, y) is displayed at (a x + c y, b x + d y)."""
    data, one = bytearray(mp4), 0x10000
    place = data.find(b"tkhd")
    at = place + 8 + (20 if data[place + 4] == 0 else 32) + 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    return bytes(data)


def with_edit(mp4: bytes, first: int, ticks: int) -> bytes:
    """Let the edit list of an MP4 begin `first` ticks of the track into the film and show `ticks` of the movie."""
    data = bytearray(mp4)
    place = data.find(b"elst")
    assert place > 0 and struct.unpack(">I", data[place + 8 : place + 12]) == (1,)
    begin = struct.unpack(">i", data[place + 16 : place + 20])[0]
    data[place + 12 : place + 20] = struct.pack(">Ii", ticks, begin + first)
    return bytes(data)


def index_first(mp4: bytes) -> bytes:
    """Move the index of an MP4 before its frames, as files for the web have it."""
    place = mp4.find(b"moov") - 4
    data, index = mp4[:place], bytearray(mp4[place : place + int.from_bytes(mp4[place : place + 4])])
    head = int.from_bytes(data[:4])
    at = index.find(b"stco")
    for entry in range(int.from_bytes(index[at + 8 : at + 12])):
        where = slice(at + 12 + 4 * entry, at + 16 + 4 * entry)
        index[where] = (int.from_bytes(index[where]) + len(index)).to_bytes(4)
    return data[:head] + bytes(index) + data[head:]


def box(kind: bytes, *parts: bytes) -> bytes:
    """Make a box of an MP4."""
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content
