"""Frames as they are displayed: transparent parts, orientations beside frames, stills stored before the film."""

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from films import make_film, numbered
from PIL import Image

from mav_lightning.media.container import _Watched
from mav_lightning.media.limits import Deadline, MediaError
from mav_lightning.media.media_reader import probe, read_frames

RED = (200, 30, 30)
QUARTER_TURN = 6  # EXIF orientation


@pytest.mark.parametrize(
    ("container", "codec", "pixels"),
    [
        ("mov", "qtrle", "argb"),
        ("mov", "png", "rgba"),
        ("mov", "prores_ks", "yuva444p10le"),
        ("matroska", "ffv1", "bgra"),
        ("avi", "utvideo", "gbrap"),
        ("webm", "libvpx-vp9", "yuva420p"),
        ("webm", "libvpx", "yuva420p"),
    ],
)
def test_transparent_parts_of_videos_are_white(container: str, codec: str, pixels: str) -> None:
    half = np.zeros((48, 64, 4), np.uint8)
    half[:, :32] = (*RED, 255)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=10, options={"auto-alt-ref": "0"} if container == "webm" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        if container == "webm":  # alpha is a second picture beside each one
            stream.metadata["alpha_mode"] = "1"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(half, format="rgba")))
        output.mux(stream.encode(None))

    frame = read_frames(buffer.getvalue())[1]

    assert np.abs(frame[24, 8].astype(int) - RED).max() <= 6
    assert frame[24, 56].min() >= 250


MATRICES = {"unspecified": 2, "BT.709": 1, "BT.470BG": 5, "SMPTE 170M": 6}  # numbers of H.273


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("is_full", [False, True])
def test_colors_are_those_of_the_stored_matrix_and_range(matrix: str, is_full: bool) -> None:
    colors = np.array(
        [
            (255, 0, 0),
            (0, 255, 0),
            (0, 0, 255),
            (200, 120, 40),
            (255, 255, 255),
            (0, 0, 0),
            (90, 90, 90),
            (30, 200, 180),
        ]
    )
    picture = np.kron(colors.reshape(2, 4, 3), np.ones((32, 32, 1))).astype(np.uint8)
    kind, extent = MATRICES[matrix], 2 if is_full else 1
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = kind, extent
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv444p", dst_colorspace=1 if kind == 1 else 5, dst_color_range=extent
        )
        frame.colorspace, frame.color_range = kind, extent
        output.mux([*stream.encode(frame), *stream.encode(None)])

    (shown,) = read_frames(buffer.getvalue())

    assert np.abs(shown[16::32, 16::32].reshape(8, 3).astype(int) - colors).max() <= 2


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_hdr_is_refused_by_name(transfer: int, name: str, container: str) -> None:
    parameters = f"log-level=none:pools=1:colorprim=9:transfer={transfer}:colormatrix=9"

    def tagged(output: Any, stream: Any) -> None:
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
        stream.codec_context.color_trc = transfer

    data = make_film(
        2, container=container, codec="libx265", pixels="yuv420p10le", options={"x265-params": parameters}, setup=tagged
    )

    with pytest.raises(MediaError, match=rf"is HDR video \({name}\); convert it to SDR \(BT.709\) or remove the file"):
        probe(data)


def test_exif_data_turn_the_frames_of_a_cameras_avi() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = QUARTER_TURN
    with av.open(buffer, "w", format="avi") as output:
        stream: Any = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, frame in enumerate(numbered(4)):
            image = io.BytesIO()
            Image.fromarray(frame).save(image, "JPEG", exif=exif, quality=95)
            packet = av.Packet(image.getvalue())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, number, number, True
            packet.time_base = Fraction(1, 10)
            output.mux(packet)

    assert_turned(buffer.getvalue())


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True}), ("PNG", {})])
def test_exif_data_turn_animations(kind: str, options: dict[str, Any]) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = QUARTER_TURN
    first, *others = map(Image.fromarray, numbered(4))
    first.save(buffer, kind, save_all=True, append_images=others, duration=100, exif=exif, **options)

    assert_turned(buffer.getvalue())


def test_a_still_before_the_film_is_not_the_film_in_any_container() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as output:  # which tells no number of frames
        streams: list[Any] = [output.add_stream("libvpx", rate=24) for _ in range(2)]
        packets = []
        for stream, (frames, width, height) in zip(streams, ((1, 32, 32), (12, 64, 48)), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in numbered(frames, height, width):
                packets += stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))
            packets += stream.encode(None)
        output.mux(packets)

    info = probe(buffer.getvalue())

    assert (info.frames, info.width, info.height) == (12, 64, 48)


@pytest.mark.parametrize("container", ["mov", "matroska"])
@pytest.mark.parametrize("thumbnails", [1, 2, 5])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_few_pictures_beside_a_film_are_not_the_film(container: str, thumbnails: int, is_first: bool) -> None:
    buffer = io.BytesIO()
    kinds = [("mjpeg", "yuvj420p", 1, numbered(thumbnails, 96, 128)), ("libx264", "yuv420p", 24, numbered(24))]
    with av.open(buffer, "w", format=container) as output:
        made: list[tuple[Any, Any]] = []
        for codec, pixels, rate, frames in kinds if is_first else reversed(kinds):
            stream: Any = output.add_stream(codec, rate=rate)
            (stream.height, stream.width), stream.pix_fmt = frames.shape[1:3], pixels
            made.append((stream, frames))
        packets = []
        for stream, frames in made:
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                packets += stream.encode(picture.reformat(format=stream.pix_fmt))
            packets += stream.encode(None)
        output.mux(packets)

    info = probe(buffer.getvalue())

    assert (info.frames, info.fps, info.width, info.height) == (24, 24.0, 64, 48)


def test_after_the_deadline_a_file_ends_so_that_the_demuxer_does() -> None:
    watched = _Watched(io.BytesIO(b"abc"), Deadline("a", -1))

    with pytest.raises(MediaError, match="a: takes more than -1 s to read"):
        watched.read(1)
    assert watched.read(1) == b""


def assert_turned(data: bytes) -> None:
    """The red corner is upper left as stored, and upper right after a quarter turn to the right."""
    info, frames = probe(data), read_frames(data)
    assert (info.width, info.height) == (48, 64) == frames.shape[2:0:-1]
    assert frames[2, 3, -4, 0] > 180 > 80 > frames[2, 3, -4, 1]
