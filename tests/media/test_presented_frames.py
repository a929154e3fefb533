"""What a player shows is what is read: every row is a kind of file that people have reported."""

import io
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from films import Frames, index_first, make_film, numbered, numbers, with_edit

from mav_lightning.media.media_reader import open_media, probe

MS = Fraction(1, 1000)
AV1 = {"preset": "10", "crf": "5", "svtav1-params": "lp=1:keyint=6:enable-tf=0"}
EVEN: dict[str, Callable[[], bytes]] = {
    "h264 mp4": lambda: make_film(24),
    "h264 mov": lambda: make_film(24, container="mov"),
    "h264 3gp": lambda: make_film(24, container="3gp"),
    "h264 mkv": lambda: make_film(24, container="matroska"),
    "h264 ts": lambda: make_film(24, container="mpegts"),
    "h264 avi with B-frames": lambda: make_film(24, container="avi", options={"bf": "3"}),
    "h264 open GOP, mkv": lambda: make_film(24, container="matroska", options={"x264-params": "open-gop=1:keyint=6"}),
    "h264 open GOP, ts": lambda: make_film(24, container="mpegts", options={"x264-params": "open-gop=1:keyint=6"}),
    "h264 periodic intra refresh": lambda: make_film(24, options={"x264-params": "intra-refresh=1:keyint=6"}),
    "h264 one key frame": lambda: make_film(24, options={"g": "250", "bf": "4"}),
    "h264 4:4:4": lambda: make_film(24, pixels="yuv444p"),
    "h264 fragments": lambda: make_film(24, container_options={"movflags": "frag_keyframe+empty_moov"}),
    "h264 a fragment each": lambda: make_film(24, container_options={"movflags": "frag_every_frame+empty_moov"}),
    "h264 index first": lambda: index_first(make_film(24)),
    "hevc open GOP": lambda: make_film(
        24, codec="libx265", options={"x265-params": "open-gop=1:bframes=4:keyint=6:log-level=none:pools=1"}
    ),
    "hevc open GOP, mkv": lambda: make_film(
        24, container="matroska", codec="libx265",
        options={"x265-params": "open-gop=1:bframes=4:keyint=6:log-level=none:pools=1"},
    ),
    "hevc 10 bit": lambda: make_film(
        24, codec="libx265", pixels="yuv420p10le", options={"x265-params": "log-level=none:pools=1"}
    ),
    "vp8 webm": lambda: make_film(24, container="webm", codec="libvpx"),
    "vp8 with hidden frames": lambda: make_film(
        24, container="webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}
    ),
    "vp9 webm": lambda: make_film(24, container="webm", codec="libvpx-vp9"),
    "vp9 with hidden frames": lambda: make_film(
        24, container="webm", codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
    "vp9 mp4": lambda: make_film(24, codec="libvpx-vp9", options={"g": "6"}),
    "vp9 of odd size": lambda: make_film(numbered(24, 63, 95), container="webm", codec="libvpx-vp9"),
    "av1 webm": lambda: make_film(24, container="webm", codec="libsvtav1", options=AV1),
    "av1 mp4": lambda: make_film(24, codec="libsvtav1", options=AV1),
    "av1 10 bit": lambda: make_film(
        24, container="matroska", codec="libsvtav1", pixels="yuv420p10le", options=AV1 | {"preset": "6"}
    ),
    "mpeg1 ps": lambda: make_film(24, container="mpeg", codec="mpeg1video", options={"bf": "2", "g": "6", "b": "4M"}),
    "mpeg2 ps": lambda: make_film(24, container="mpeg", codec="mpeg2video", options={"bf": "2", "g": "6", "b": "4M"}),
    "mpeg2 ts": lambda: make_film(24, container="mpegts", codec="mpeg2video", options={"bf": "2", "g": "6", "b": "4M"}),
    "mpeg4 avi": lambda: make_film(24, container="avi", codec="mpeg4", options={"g": "6", "b": "2M"}),
    "mpeg4 avi with B-frames": lambda: make_film(
        24, container="avi", codec="mpeg4", options={"bf": "2", "g": "6", "b": "2M"}
    ),
    "mjpeg avi": lambda: make_film(24, container="avi", codec="mjpeg", pixels="yuvj420p"),
    "raw avi": lambda: make_film(24, container="avi", codec="rawvideo", pixels="bgr24"),
    "ffv1 mkv": lambda: make_film(24, container="matroska", codec="ffv1", pixels="bgr0"),
    "prores mov": lambda: make_film(24, container="mov", codec="prores_ks", pixels="yuv422p10le"),
    "24000/1001 fps": lambda: make_film(24, fps=24000 / 1001, container="matroska"),
    "0.5 fps": lambda: make_film(24, fps=0.5),
    "1 fps": lambda: make_film(24, fps=1, container="matroska"),
    "60000/1001 fps": lambda: make_film(24, fps=60000 / 1001),
    "120 fps": lambda: make_film(24, fps=120),
    "upright of odd size": lambda: make_film(numbered(24, 63, 45), codec="ffv1", container="matroska", pixels="bgr0"),
}  # fmt: skip
RATES = {
    "24000/1001 fps": 24000 / 1001, "0.5 fps": 0.5, "1 fps": 1.0, "60000/1001 fps": 60000 / 1001, "120 fps": 120.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", EVEN)
def test_every_frame_is_read_in_order_at_its_time(kind: str) -> None:
    with open_media(EVEN[kind]()) as film:
        fps = RATES.get(kind, 24.0)
        assert (len(film.timeline), film.timeline.is_even) == (24, True)
        assert film.timeline.fps == pytest.approx(fps, rel=1e-9)
        assert numbers(list(film.frames(range(24)))) == list(range(24))


@pytest.mark.parametrize("kind", EVEN)
def test_any_choice_of_frames_is_the_same_as_from_the_whole_film(kind: str) -> None:
    rng = np.random.default_rng(0)
    with open_media(EVEN[kind]()) as film:
        whole = list(film.frames(range(24)))
        for _ in range(6):
            chosen = np.sort(rng.integers(0, 24, rng.integers(1, 6))).tolist()
            for number, frame in zip(chosen, film.frames(chosen), strict=True):
                np.testing.assert_array_equal(frame, whole[number])


def jitter(count: int, choices: list[float], seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return np.cumsum([0.0, *(chance.choice(choices) for _ in range(count - 1))]).round(3).tolist()


UNEVEN = {
    "a pause in the middle": [*np.arange(12) / 24, *(5 + np.arange(12) / 24)],
    "a pause at the start": [0.0, *(4 + np.arange(23) / 24)],
    "a pause at the end": [*np.arange(23) / 24, 6.0],
    "frames left out": [number / 24 for number in range(30) if number % 5 != 2][:24],
    "two rates": [*np.arange(12) / 30, *(0.4 + np.arange(12) / 10)],
    "a browser's clock": jitter(24, [0.016, 0.033, 0.034, 0.05, 0.1]),
    "a game's clock": jitter(24, [0.007, 0.016, 0.017, 0.033], 2),
    "a phone in the dark": jitter(24, [0.033, 0.041, 0.066], 3),
    "one frame a second, then many": [*np.arange(8) * 1.0, *(8 + np.arange(16) / 30)],
    "slower and slower": (np.arange(24) ** 1.5 / 24).round(3).tolist(),
    "a start of ten seconds": (10 + np.array(jitter(24, [0.02, 0.07], 4))).tolist(),
}  # fmt: skip
CONTAINERS: dict[str, dict[str, Any]] = {
    "mp4": {},
    "mov": {"container": "mov"},
    "matroska": {"container": "matroska"},
    "webm": {"container": "webm", "codec": "libvpx"},
    "webm live": {"container": "webm", "codec": "libvpx", "fps": 1000, "container_options": {"live": "1"}},
    "mkv live": {"container": "matroska", "fps": 1000, "container_options": {"live": "1"}},
    "mp4 fragments": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", UNEVEN)
def test_uneven_times_are_those_of_the_packets(kind: str, container: str) -> None:
    times = [float(time) for time in UNEVEN[kind]]
    data = make_film(24, times=times, time_base=MS, **CONTAINERS[container])
    with open_media(data) as film:
        assert numbers(list(film.frames(range(24)))) == list(range(24))
        np.testing.assert_allclose(film.timeline.times, np.array(times) - times[0], atol=2e-3)
        assert film.timeline.fps == pytest.approx(23 / (times[-1] - times[0]), rel=0.01)
        assert film.timeline.span == pytest.approx(times[-1] - times[0], abs=2e-3)


def shown(film: Any) -> list[int]:
    return numbers(list(film.frames(range(len(film.timeline)))))


def test_an_edit_list_shows_a_part_of_the_film() -> None:
    plain = make_film(24, options={"bf": "0", "g": "6"})
    with open_media(with_edit(plain, first=5120, ticks=250)) as film:  # from frame 10 on, a quarter of a second
        assert shown(film)[:6] == [10, 11, 12, 13, 14, 15] and len(film.timeline) in (6, 7)
        assert film.timeline.times[0] == 0 and film.timeline.fps == 24


def test_an_edit_list_may_begin_between_key_frames_and_reordered_ones() -> None:
    with open_media(with_edit(make_film(24, options={"g": "12", "bf": "3"}), first=4096, ticks=10_000)) as film:
        assert shown(film) == list(range(8, 24))
        assert numbers(list(film.frames([0, 15]))) == [8, 23]


@pytest.mark.parametrize("between", ["0", "3"])
@pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
def test_frames_before_time_zero_are_not_shown(container: str, between: str) -> None:
    kept = {"avoid_negative_ts": "disabled"} if container == "matroska" else {}
    times = (np.arange(24) / 10 - 0.5).tolist()
    data = make_film(
        24, container=container, times=times, time_base=MS, options={"bf": between}, container_options=kept
    )
    with open_media(data) as film:
        assert shown(film) == list(range(5, 24)) and film.timeline.fps == 10


def test_webm_of_a_negative_start_is_read_although_it_cannot_be_sought() -> None:
    times, options = (np.arange(24) / 10 - 0.5).tolist(), {"avoid_negative_ts": "disabled"}
    data = make_film(24, container="webm", codec="libvpx", times=times, time_base=MS, container_options=options)
    with open_media(data) as film:
        assert shown(film) == list(range(24))
        assert numbers(list(film.frames([0, 5, 23]))) == [0, 5, 23]


def test_joined_parts_run_on_where_their_clocks_begin_again() -> None:
    parts = [make_film(numbered(24)[first : first + 12], container="mpegts") for first in (0, 12)]
    with open_media(b"".join(parts)) as film:
        assert shown(film) == list(range(24))
        assert np.all(np.diff(film.timeline.times) > 0)


def test_what_precedes_the_first_key_frame_is_not_shown() -> None:
    data = make_film(24, container="mpegts", options={"x264-params": "open-gop=1:keyint=6:bframes=2:scenecut=0"})
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    with open_media(b"".join(packets[:3] + packets[len(packets) // 3 :])) as film:  # cut as a broadcast is
        rest = shown(film)
    assert rest == list(range(rest[0], 24)) and 0 < rest[0] < 20


def sizes(data: bytes) -> tuple[int, int, int]:
    info = probe(data)
    return info.width, info.height, info.frames


def two_streams(small_first: bool, container: str, disposition: str | None = None) -> bytes:
    """A film beside a still of another size, which is stored first or last."""
    buffer, film = io.BytesIO(), numbered(24)
    with av.open(buffer, "w", format=container) as output:
        streams = {}
        for name in ("still", "film") if small_first else ("film", "still"):
            codec = "libx264" if name == "film" else "mjpeg"
            streams[name] = output.add_stream(codec, rate=24 if name == "film" else 1)
            streams[name].width, streams[name].height = (64, 48) if name == "film" else (320, 320)
            streams[name].pix_fmt = "yuv420p" if name == "film" else "yuvj420p"
        if disposition is not None:
            streams["still"].disposition = Disposition[disposition]
        picture = av.VideoFrame.from_ndarray(np.full((320, 320, 3), 200, np.uint8), format="rgb24")
        picture.pts = 0
        for packet in [*streams["still"].encode(picture), *streams["still"].encode(None)]:
            output.mux(packet)
        for pixel in film:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixel), format="rgb24")
            output.mux(streams["film"].encode(frame))
        output.mux(streams["film"].encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("container", ["matroska", "mp4", "mov"])
@pytest.mark.parametrize("small_first", [True, False])
@pytest.mark.parametrize("disposition", [None, "attached_pic", "timed_thumbnails", "still_image"])
def test_the_film_is_read_and_not_the_picture_beside_it(
    container: str, small_first: bool, disposition: str | None
) -> None:
    assert sizes(two_streams(small_first, container, disposition)) == (64, 48, 24)


def test_the_film_that_players_choose_is_read_where_there_are_two() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        streams = []
        for width, height in ((32, 24), (64, 48)):
            stream = output.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append((stream, numbered(24, height, width)))
        for number in range(24):
            for stream, film in streams:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(film[number]), format="rgb24")
                output.mux(stream.encode(frame))
        for stream, _ in streams:
            output.mux(stream.encode(None))
    with av.open(io.BytesIO(buffer.getvalue())) as container:
        best = container.streams.best("video")
        assert best is not None
        assert sizes(buffer.getvalue()) == (best.width, best.height, 24)


def with_sound(output: Any) -> None:
    output.add_stream("aac", rate=16000).layout = "mono"


def half_a_second_of_silence(output: Any, film: Any) -> None:
    sound = output.streams.audio[0]
    for number in range(8):
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts, silence.time_base = 16000, 1024 * number, Fraction(1, 16000)
        output.mux(sound.encode(silence))


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_sound_before_the_film_changes_nothing(container: str) -> None:
    data = make_film(24, container=container, before=with_sound, setup=half_a_second_of_silence)
    with open_media(data) as film:
        assert shown(film) == list(range(24)) and film.timeline.fps == 24
    assert sizes(data) == (64, 48, 24)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")])
def test_a_film_of_one_frame_is_one(container: str, codec: str) -> None:
    with open_media(make_film(1, container=container, codec=codec)) as film:
        assert shown(film) == [0] and film.timeline.at([0, 7]).tolist() == [0, 0]
        assert (film.timeline.fps, film.timeline.span) == (24, 0)


def test_a_repeat_is_decoded_once_and_given_each_time() -> None:
    with open_media(make_film(24)) as film:
        chosen: list[Frames] = list(film.frames([3, 3, 3, 9]))
    assert numbers(chosen) == [3, 3, 3, 9] and chosen[0] is chosen[2]
