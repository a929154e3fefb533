"""One flipped bit in each of 200 places of a video: is it refused, harmless, or silently other frames?

    python benchmarks/damage.py > damage.md
    python benchmarks/damage.py videos/*.mp4 --flips 100

By this reader and by PyAV as most loaders call it, on the same files in one run. Without FILES, a moving texture of 40
frames of 64 pixels is encoded in several formats.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import read_frames

FPS, FRAMES, SIZE = 8.0, 40, 64
FORMATS = {
    "H.264 in MP4": ("mp4", "libx264", "yuv420p"),
    "HEVC in MP4": ("mp4", "libx265", "yuv420p"),
    "VP9 in WebM": ("webm", "libvpx-vp9", "yuv420p"),
    "MPEG-4 in AVI": ("avi", "mpeg4", "yuv420p"),
    "FFV1 in Matroska": ("matroska", "ffv1", "bgr0"),
}
Read = Callable[[bytes], NDArray[np.uint8]]


def texture() -> NDArray[np.uint8]:
    """Make a texture that drifts."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 256, (16, 32, 3)), np.ones((8, 8, 1))).astype(np.int64)
    frames = np.stack([np.roll(wide, -number, axis=1)[:SIZE, :SIZE] for number in range(FRAMES)])
    return np.clip(frames + rng.integers(-6, 7, frames.shape), 0, 255).astype(np.uint8)


def encode(frames: NDArray[np.uint8], container: str, codec: str, pixels: str) -> bytes:
    """Encode with FFmpeg's default quality."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        # One thread and no macroblock tree: the same bytes in every run.
        options = {"threads": "1", "x264-params": "mbtree=0", "x265-params": "log-level=none:pools=1"}
        stream: Any = output.add_stream(codec, rate=Fraction(FPS), options=options)
        stream.height, stream.width, stream.pix_fmt = SIZE, SIZE, pixels
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def read_plainly(data: bytes) -> NDArray[np.uint8]:
    """Decode as most loaders do."""
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def outcomes(data: bytes, read: Read, flips: int) -> Counter[str]:
    """Count what becomes of single flipped bits."""
    right, found = read(data), Counter[str]()
    for number in range(flips):
        place = int((number + 0.5) * len(data) / flips)
        flipped = bytearray(data)
        flipped[place] ^= 1 << (number % 8)
        try:
            found["same" if np.array_equal(read(bytes(flipped)), right) else "other"] += 1
        except (UserError, av.FFmpegError, ValueError, IndexError):
            found["refused"] += 1
    return found


def videos(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of the files, or of videos made here."""
    if files:
        yield from ((file.name, file.read_bytes()) for file in files)
        return
    frames = texture()
    yield "`encode_mp4` of this project", encode_mp4(frames, FPS)
    yield from ((name, encode(frames, *format)) for name, format in FORMATS.items())
    yield "GIF", encode_gif(frames, FPS)


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="Videos; none makes some.")] = None,
    flips: Annotated[int, typer.Option(help="Places in each video.")] = 200,
) -> None:
    """Print the table as Markdown."""
    print(f"av {av.__version__}, {flips} flips per video\n")
    print("| video | bytes | silently other frames: this | PyAV | refused: this | PyAV |\n|---|---|---|---|---|---|")
    for name, data in videos(files or []):
        ours, theirs = (outcomes(data, read, flips) for read in (read_frames, read_plainly))
        cells = f"{ours['other']} | {theirs['other']} | {ours['refused']} | {theirs['refused']}"
        print(f"| {name} | {len(data)} | {cells} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
