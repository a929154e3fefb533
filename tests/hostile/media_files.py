"""Small media of every container, to be damaged."""

import io
from pathlib import Path

import numpy as np
from hostile.dataset_files import Case
from PIL import Image


def _film(container: str, codec: str) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for level in range(20, 220, 20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), level, np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), (level, 0, 0)) for level in range(20, 220, 20)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=125)
    return buffer.getvalue()


def _image(kind: str) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def media_cases(root: Path) -> list[Case]:
    """Return films, animations and images, each read in the ways of training, evaluation and packing."""
    from mav_lightning.common.video_encoding import encode_mp4
    from mav_lightning.media.media_reader import probe, read_comment, read_frames, read_frames_at
    from mav_lightning.media.pictures import decode_picture

    ramp = np.broadcast_to(np.arange(20, 220, 20, dtype=np.uint8)[:, None, None, None], (10, 32, 48, 3))
    moving = {
        "ours.mp4": encode_mp4(np.ascontiguousarray(ramp), 8.0, comment="x"),
        "a.mp4": _film("mp4", "libx264"), "a.mov": _film("mov", "mpeg4"), "a.mkv": _film("matroska", "ffv1"),
        "a.webm": _film("webm", "libvpx-vp9"), "a.avi": _film("avi", "mpeg4"), "a.ts": _film("mpegts", "mpeg2video"),
        "a.gif": _animation("GIF"), "a.webp": _animation("WEBP"), "a.apng": _animation("PNG"),
    }  # fmt: skip
    still = {"b.jpg": _image("JPEG"), "b.png": _image("PNG"), "b.webp": _image("WEBP")}
    for name, data in {**moving, **still}.items():
        (root / name).write_bytes(data)

    def film(path: Path) -> None:
        read_frames_at(path.read_bytes(), np.linspace(0, probe(path).duration, 5))
        read_frames(path), read_comment(path)

    return [(f"film {name}", root / name, lambda path=root / name: film(path)) for name in moving] + [
        (f"image {name}", root / name, lambda path=root / name: decode_picture(path)) for name in still
    ]
