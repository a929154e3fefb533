"""Random films of which it is known what a player shows: which of the numbered frames, when, and which way up."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from films import Frames, make_film, with_edit, with_matrix
from numpy.typing import ArrayLike

from mav_lightning.media.media_reader import open_media

__all__ = ["COUNT", "Film"]

COUNT = 30
MP4 = ("mp4", "mov")
SUFFIXES = {"mp4": "mp4", "mov": "mov", "matroska": "mkv", "webm": "webm", "avi": "avi", "mpegts": "ts"}
CAPTIONS = ("grey", "“so grey”, says 猫", "Grau, größer\u2028als grau", "a 'b' \"c\" \\n", "👩‍👩‍👧 x; y, z")
TURNS = {  # display matrix (a, b, c, d) → row and column of the upper left corner as it is displayed: 2 or -3
    (1, 0, 0, 1): (2, 2), (0, 1, -1, 0): (2, -3), (-1, 0, 0, -1): (-3, -3), (0, -1, 1, 0): (-3, 2),
    (-1, 0, 0, 1): (2, -3), (1, 0, 0, -1): (-3, 2), (0, 1, 1, 0): (2, 2), (0, -1, -1, 0): (-3, -3),
}  # fmt: skip


def encoder(name: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return random settings of an encoder that people use: B-frames, open GOPs, hidden frames."""
    interval, between, is_open = int(rng.integers(1, 40)), int(rng.integers(5)), int(rng.integers(2))
    params = f"open-gop={is_open}:keyint={interval}:bframes={between}:crf=10:log-level=none:pools=1"
    svt = {"preset": "10", "crf": "5", "svtav1-params": "lp=1:keyint=6:enable-tf=0"}
    settings: dict[str, dict[str, Any]] = {
        "libx264": {"options": {
            "g": str(interval), "bf": str(between), "crf": "10", "x264-params": f"open-gop={is_open}"
        }},
        "libx265": {"options": {"x265-params": params}},
        "libsvtav1": {"options": svt},
        "libvpx": {"options": {"auto-alt-ref": str(is_open), "lag-in-frames": "8", "g": str(interval), "b": "400k"}},
        "libvpx-vp9": {"options": {"auto-alt-ref": str(is_open), "lag-in-frames": "8", "g": str(interval)}},
        "mpeg4": {"options": {"bf": str(between % 3), "g": "7", "b": "4M"}},
        "mpeg2video": {"options": {"bf": str(between % 3), "g": "7", "b": "4M"}},
        "mjpeg": {"pixels": "yuvj420p"},
        "prores_ks": {"pixels": "yuv422p10le"},
        "ffv1": {"pixels": "bgr0"},
    }  # fmt: skip
    return {"codec": name, **settings[name]}


ENCODERS = {
    "mp4": ["libx264", "libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"],
    "mov": ["libx264", "libx264", "libx265", "prores_ks", "mjpeg"],
    "matroska": ["libx264", "libx265", "libsvtav1", "libvpx", "ffv1", "mpeg4"],
    "webm": ["libvpx", "libvpx-vp9", "libsvtav1"],
    "avi": ["mpeg4", "mjpeg", "libx264", "ffv1"],
    "mpegts": ["libx264", "libx265", "mpeg2video"],
}
STORES_ASPECT = ("libx264", "libx265", "mpeg4")  # shape of pixels in the stream; other containers than MP4 need it
STYLES = {"plain": {}, "fragments": {"movflags": "frag_keyframe+empty_moov"}, "live": {"live": "1"}}
COMPANIONS = ("nothing", "sound", "still", "cover", "smaller film")


@dataclass
class Beside:
    """A stream beside the film: sound without samples, a picture, or a smaller film that players do not choose.

    Attributes:
        kind: One of `COMPANIONS`.
        container: Format of the file.
    """

    kind: str
    container: str
    stream: Any = field(default=None, init=False)

    def options(self) -> dict[str, Any]:
        """Return arguments of `make_film`; in MP4 the film stays first, whose track gets the matrix and the edit."""
        if self.kind == "nothing":
            return {}
        if self.container in MP4:
            return {"setup": lambda output, film: (self._add(output), self._fill(output, film))}
        return {"before": self._add, "setup": self._fill}

    def _add(self, output: Any) -> None:
        is_webm, is_film = self.container == "webm", self.kind == "smaller film"
        if self.kind == "sound":
            self.stream = output.add_stream("libopus" if is_webm else "aac", rate=16000)
            self.stream.layout = "mono"
            return
        codec = "libvpx" if is_webm else "mpeg4" if is_film else "mjpeg"
        self.stream = output.add_stream(codec, rate=10 if is_film else 1)
        self.stream.width, self.stream.height = (32, 24) if is_film else (96, 96)
        self.stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        self.stream.disposition = Disposition.attached_pic if self.kind == "cover" else Disposition(0)

    def _fill(self, output: Any, film: Any) -> None:
        film.disposition = Disposition.default
        if self.kind != "sound":
            for _ in range(20 if self.kind == "smaller film" else 1):
                picture = av.VideoFrame.from_ndarray(
                    np.full((self.stream.height, self.stream.width, 3), 250, np.uint8), format="rgb24"
                )
                output.mux(self.stream.encode(picture))
            output.mux(self.stream.encode(None))


class Film:
    """A random film, and what is known of it.

    Args:
        seed: Seed of everything random.

    Attributes:
        data: The file.
        suffix: Its suffix.
        caption: A caption for it.
        shown: Numbers of the frames that players show, in order.
        times: When they are shown, in seconds from the first.
        size: Width and height as displayed.
        about: What it is, for messages.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        container = [*SUFFIXES, *MP4, "mp4", "matroska"][seed % 10]  # which have the most to go wrong
        codec, fps = str(rng.choice(ENCODERS[container])), float(rng.choice([6, 12.5, 24000 / 1001, 25, 60]))
        kind = str(rng.choice(COMPANIONS))
        wide = (container in MP4 or codec in STORES_ASPECT) and container != "avi" and bool(rng.random() < 0.4)
        if container in ("avi", "mpegts") and kind != "sound" or (container, kind) == ("webm", "cover"):
            kind = "nothing"
        variable = container not in ("avi", "mpegts") and codec not in ("mpeg4", "mjpeg") and bool(rng.random() < 0.5)
        options: dict[str, Any] = {"container": container, "fps": fps, **encoder(codec, rng)}
        beside = Beside(kind, container)
        options |= beside.options()
        if wide:
            options["setup"] = _both(_twice_as_wide, options.get("setup"))
        self.times, start = np.arange(COUNT) / fps, 0.0
        style = str(rng.choice(["plain", "plain", "fragments", "live"]))
        if container not in {"fragments": MP4, "live": ("matroska", "webm")}.get(style, (container,)):
            style = "plain"
        if variable:
            self.times = np.concatenate([[0], np.cumsum(rng.choice([1, 1, 1, 2, 3, 9], COUNT - 1) / fps)]).round(3)
            start = float(rng.choice([0, 7, -self.times[5]] if container in MP4 else [0, 7]))
            start = 0.0 if style == "fragments" else start  # their muxer loses it
            options |= {"times": (start + self.times).tolist(), "time_base": Fraction(1, 1000)}
        options["container_options"] = STYLES[style]
        self.data, self.shown = make_film(COUNT, **options), list(range(COUNT))
        if start < 0:  # MP4 begins at 0
            self.shown, self.times = self.shown[5:], self.times[5:] - self.times[5]
        self.matrix = (1, 0, 0, 1)
        if container in MP4 and rng.random() < 0.6:
            self.matrix = list(TURNS)[int(rng.integers(8))]
            self.data = with_matrix(self.data, *self.matrix)
        first, last = int(rng.integers(1, 9)), int(rng.integers(20, COUNT))
        if container in MP4 and start >= 0 and _edits(self.data) == 1 and rng.random() < 0.5:
            self._edit(first, last)
        width = 128 if wide else 64
        self.size = (48, width) if self.matrix[0] == 0 else (width, 48)
        self.suffix, self.caption = SUFFIXES[container], str(rng.choice(CAPTIONS))
        self.fps = (len(self.times) - 1) / float(self.times[-1])
        self.about = (
            f"{container} {style}, {codec} {options.get('options')}, {fps:.2f} fps, start {start}, beside: {kind}, "
            f"variable: {variable}, wide: {wide}, matrix {self.matrix}, frames {self.shown[0]} to {self.shown[-1]}"
        )

    def _edit(self, first: int, last: int) -> None:
        """Show the frames from `first` to `last` by an edit list."""
        after = self.times[last + 1] if last + 1 < COUNT else self.times[last] + 1
        seconds = (self.times[last] + after) / 2 - self.times[first]
        timescale = int.from_bytes(self.data[self.data.find(b"mdhd") + 16 :][:4])
        movie = int.from_bytes(self.data[self.data.find(b"mvhd") + 16 :][:4])
        self.data = with_edit(self.data, round(self.times[first] * timescale), round(seconds * movie))
        self.shown = self.shown[first : last + 1]
        self.times = self.times[first : last + 1] - self.times[first]

    def is_upright(self, frame: Frames) -> bool:
        """Return whether the red corner is where it is displayed."""
        corner = frame[TURNS[self.matrix]]
        return bool(corner[0] > 180 > 100 > corner[1])

    def at(self, seconds: ArrayLike) -> list[int]:
        """Return the numbers of the frames shown at some times, by the times in the file, which are rounded."""
        with open_media(self.data) as film:
            return [self.shown[number] for number in film.timeline.at(seconds)]


def _both(one: Any, other: Any) -> Any:
    return lambda output, film: (one(output, film), other and other(output, film))


def _twice_as_wide(output: Any, film: Any) -> None:
    film.codec_context.sample_aspect_ratio = Fraction(2)


def _edits(mp4: bytes) -> int:
    place = mp4.find(b"elst")
    return int.from_bytes(mp4[place + 8 : place + 12]) if place > 0 else 0
