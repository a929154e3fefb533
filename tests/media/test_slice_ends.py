"""Damage in the slices of H.264 is found by where they end, which needs no checksum and refuses no intact film."""

import io
from typing import Any

import av
import numpy as np
import pytest
from films import make_film, numbered

from mav_lightning.media.h264_headers import taller_header, taller_packet
from mav_lightning.media.h264_slices import SliceEnds
from mav_lightning.media.limits import MediaError
from mav_lightning.media.media_reader import open_media, read_frames

NOISE = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
INTACT: dict[str, dict[str, Any]] = {
    "baseline": {"options": {"profile": "baseline"}},
    "variable-length codes": {"options": {"coder": "0"}},
    "10 bits": {"pixels": "yuv420p10le"},
    "4:2:2": {"pixels": "yuv422p"},
    "4:4:4 lossless": {"pixels": "yuv444p", "options": {"qp": "0"}},
    "grey": {"pixels": "gray"},
    "three slices": {"options": {"slices": "3"}},
    "slices of 400 bytes": {"options": {"x264-params": "slice-max-size=400"}},
    "intra refresh": {"options": {"intra-refresh": "1"}},
    "open GOP": {"options": {"x264-params": "open-gop=1:keyint=4:bframes=3:b-pyramid=normal"}},
    "fields": {"options": {"x264-params": "interlaced=1"}},
    "filler": {"options": {"x264-params": "nal-hrd=cbr:bitrate=200:vbv-maxrate=200:vbv-bufsize=100"}},
    "scaling lists": {"options": {"x264-params": "cqm=jvt"}},
    "headers in the stream": {"options": {"x264-params": "repeat-headers=1:aud=1"}},
    "16 references": {"options": {"x264-params": "ref=16:bframes=8"}},
    "fragments": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "Matroska": {"container": "matroska"},
    "transport stream": {"container": "mpegts"},
    "AVI": {"container": "avi"},
}


@pytest.mark.parametrize("kind", INTACT)
def test_intact_films_of_every_kind_are_read(kind: str) -> None:
    for film in (NOISE, numbered(12)):
        data = make_film(film, **INTACT[kind])
        with open_media(data) as checked, open_media(data, is_verified=True) as unchecked:
            np.testing.assert_array_equal(
                list(checked.frames(range(12))), list(unchecked.frames(range(12))), err_msg=kind
            )


def flips(data: bytes, count: int) -> tuple[int, int]:
    """Flip one bit in each of `count` places; return how many gave other frames, and how many were refused."""
    right, other, refused = read_frames(data), 0, 0
    for number in range(count):
        flipped = bytearray(data)
        flipped[int((number + 0.5) * len(data) / count)] ^= 1 << number % 8
        try:
            other += not np.array_equal(read_frames(bytes(flipped)), right)
        except MediaError:
            refused += 1
    return other, refused


def test_nearly_no_damage_of_a_small_film_gives_other_frames_in_silence() -> None:
    tones = np.kron(np.random.default_rng(1).integers(0, 256, (24, 4, 4, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)
    other, refused = flips(make_film(tones), 40)
    assert other <= 4 and refused >= 15  # without the check, up to 13 give other frames


def test_damage_behind_the_last_frame_that_is_read_changes_nothing() -> None:
    data = bytearray(make_film(NOISE, options={"bf": "0"}))
    right = read_frames(bytes(data))
    container: Any
    with av.open(io.BytesIO(bytes(data))) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
        data[last.pos + last.size // 2] ^= 0x10
    with open_media(bytes(data)) as video:
        np.testing.assert_array_equal(list(video.frames(range(8))), right[:8])


class Decoder:
    """Stands for PyAV's decoder of taller pictures: `True` for a picture whose added row is empty."""

    is_open = True

    def __init__(self, found: list[bool | None]) -> None:
        self.found = found

    def flush_buffers(self) -> None:
        """Forget nothing."""

    def decode(self, packet: Any) -> list[Any]:
        found = self.found.pop(0)
        if found is None:
            raise av.InvalidDataError(1, "damaged")
        return [type("Frame", (), {"is_corrupt": found})]


@pytest.mark.parametrize("found", [[True, True, True], [False, False, False], [None, None]])
def test_an_encoder_that_ends_all_slices_in_its_own_way_is_believed(found: list[bool | None]) -> None:
    ends = SliceEnds(type("Codec", (), {"name": "mpeg4", "extradata": None}), "a.mp4")
    ends._decoder = Decoder(found.copy())
    for _ in found:
        ends.check(None)


@pytest.mark.parametrize("found", [[True, False], [False, True], [True, None], [None, True]])
def test_one_picture_unlike_the_others_is_damaged(found: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SliceEnds, "_is_decoded_as_declared", lambda self: True)
    ends = SliceEnds(type("Codec", (), {"name": "mpeg4", "extradata": None}), "a.mp4")
    ends._decoder = Decoder(found.copy())
    ends.check(None)
    with pytest.raises(MediaError, match="a.mp4: a frame is damaged; re-encode or remove the file"):
        ends.check(None)


def test_errors_that_the_declared_height_gives_too_are_no_damage_of_slices() -> None:
    ends = SliceEnds(type("Codec", (), {"name": "mpeg4", "extradata": None}), "a.mp4")
    ends._decoder = Decoder([True, None, True])
    for _ in range(3):
        ends.check(None)


def test_films_without_their_first_pictures_are_read_as_before() -> None:
    data = make_film(NOISE, container="mpegts", options={"g": "4", "x264-params": "open-gop=1:repeat-headers=1"})
    cut = data[188 * (len(data) // 188 // 3) :]
    with open_media(cut) as checked, open_media(cut, is_verified=True) as unchecked:
        count = len(unchecked.timeline)
        np.testing.assert_array_equal(list(checked.frames(range(count))), list(unchecked.frames(range(count))))


@pytest.mark.parametrize("kind", ["baseline", "4:4:4 lossless", "scaling lists", "headers in the stream", "Matroska"])
def test_a_taller_header_changes_the_height_alone(kind: str) -> None:
    container: Any
    with av.open(io.BytesIO(make_film(2, **INTACT[kind]))) as container:
        header = bytes(container.streams.video[0].codec_context.extradata)
        packet = next(container.demux(video=0))
    taller, decoder = taller_header(header), av.CodecContext.create("h264", "r")
    assert taller is not None
    data = taller_packet(bytes(packet), 4)
    decoder.extradata = taller
    frame: Any = [*decoder.decode(packet if data is None else av.Packet(data)), *decoder.decode(None)][0]
    assert (frame.width, frame.height) == (64, 64)  # 48 and one row of 16
    assert frame.format.name == ("yuv444p" if "4:4:4" in kind else "yuv420p")


@pytest.mark.parametrize("header", [b"", b"\x01", b"\x01d\x00\x0a\xff\xe1\x00\x02gd", bytes(20), b"\x00\x00\x01\x67"])
def test_damaged_headers_are_left_alone(header: bytes) -> None:
    assert taller_header(header) is None


def test_packets_without_headers_are_left_alone() -> None:
    assert taller_packet(b"\x00\x00\x00\x02\x65\x88", 4) is None
    assert taller_packet(b"\x00\x00\x01\x65\x88", 0) is None
    assert taller_packet(b"\x00\x00\x00\x02\x67\x64", 4) is None  # cut off
