"""The files that a reader of the documents brings: videos with captions, pictures, prompts, annotations."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def moving_square(hue: int, frames: int = 40, size: int = 64) -> NDArray[np.uint8]:
    """Frames of a colored square that moves over a gradient."""
    clip = np.zeros((frames, size, size, 3), np.uint8)
    clip[..., 1] = np.arange(size) * 2
    for time, frame in enumerate(clip):
        left = (3 * time + 7 * hue) % (size - 20)
        frame[20:40, left : left + 20] = (40 * hue % 256, 200, 255 - 30 * hue % 256)
    return clip


def write_video(path: Path, frames: NDArray[np.uint8], fps: int = 16) -> None:
    """Encode frames as H.264 in MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


def bring(folder: Path) -> None:
    """Write everything that the examples read and do not make themselves."""
    rows = ["file\tcaption\tlabel\tgroup"]
    for number in range(20):
        name, what = f"scene/{number}.mp4", ("a person surfing", "a horse race")[number % 2]
        write_video(folder / "VIDEOS" / name, moving_square(number))
        rows.append(f"{name}\t{what}\t{what.split()[-1]}\tfilm-{number // 2}")
    (folder / "VIDEOS" / "captions.tsv").write_text("\n".join(rows) + "\n")
    write_video(folder / "clip.mp4", moving_square(1))
    for number, name in enumerate(("photo.png", "a.png", "b.png")):
        Image.fromarray(moving_square(number, 1)[0]).save(folder / name)
    (folder / "prompts.tsv").write_text("id\tprompt\n0\ta red circle on a dark background\n1\ta blue square\n")
    (folder / "prompts.txt").write_text("a person surfing\na horse race\n")
