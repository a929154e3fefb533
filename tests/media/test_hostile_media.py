"""Strangers' bytes: nothing but the file is read, limits hold before decoding, names are names."""

import io
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from films import box, make_film, numbered
from PIL import Image
from special_files import SPECIAL, make_special

from mav_lightning.media.limits import Deadline, MediaError, MediaLimits
from mav_lightning.media.media_reader import open_media, probe, read_frames
from mav_lightning.media.pictures import decode_picture

SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n"
NO_MEDIA: dict[str, tuple[bytes, str]] = {
    "SDP": (SDP, "a session description"),
    "HLS": (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "a playlist"),
    "ffconcat": (b"ffconcat version 1.0\nfile /etc/passwd\n", "a list of files"),
    "DASH": (b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>', "a web page, SVG image or"),
    "SVG": (b'<svg><image href="file:///etc/passwd"/></svg>', "a web page, SVG image or other XML"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript document"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer; fetch"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "compressed (gzip); unpack it with `gunzip`"),
    "zip": (b"PK\x03\x04" + bytes(20), "compressed (zip); unpack it with `unzip`"),
    "AppleDouble": (b"\x00\x05\x16\x07" + bytes(200), "a companion file of macOS"),
    "Flash": (b"FLV\x01\x05" + bytes(20), "Flash video"),
    "Windows Media": (b"\x30\x26\xb2\x75" + bytes(20), "Windows Media"),
    "Ogg": (b"OggS" + bytes(30), "Ogg"),
    "WAV": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a RIFF file of another kind"),
    "AVIF": (b"\x00\x00\x00\x1cftypavif" + bytes(20), "an AVIF, HEIC or JPEG 2000 image"),
    "raw H.264": (b"\x00\x00\x00\x01\x67\x42" + bytes(20), "a raw H.264 or HEVC stream"),
    "JSON": (b'{"error": "not found"}', "JSON text"),
    "playlist after a mark": (b"\xef\xbb\xbf\n#EXTM3U\n", "a playlist"),
    "Y4M": (b"YUV4MPEG2 W64 H48 F24:1\n", "of an unknown format"),
    "text": (b"hello", "of an unknown format"),
    "nothing": (b"", "empty"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.mark.parametrize("kind", NO_MEDIA)
def test_what_is_no_media_is_refused_at_once_and_named(kind: str, tmp_path: Path) -> None:
    data, what = NO_MEDIA[kind]
    (tmp_path / "film.mp4").write_bytes(data)
    for source in (data, tmp_path / "film.mp4"):
        with pytest.raises(MediaError, match=rf"cannot be decoded \({re.escape(what)}.*; re-encode or remove the file"):
            probe(source)


@pytest.mark.parametrize("kind", NO_MEDIA)
def test_what_is_no_image_is_refused_by_name(kind: str) -> None:
    with pytest.raises(MediaError, match=r"not a readable JPEG, PNG or WebP .*; replace or remove the image"):
        decode_picture(NO_MEDIA[kind][0])


@pytest.mark.parametrize(("kind", "what"), [("GIF", "GIF animation"), ("TIFF", "a TIFF image"), ("BMP", "a BMP image")])
def test_images_of_other_formats_are_refused_by_name(kind: str, what: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(numbered(1)[0]).save(buffer, kind)
    with pytest.raises(MediaError, match=rf"not a readable JPEG, PNG or WebP \({what}\); replace or remove the image"):
        decode_picture(buffer.getvalue())


def test_a_film_that_refers_to_another_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(make_film(4))
    data = bytearray(make_film(4, container="mov"))
    at = data.find(b"url ", data.find(b"dref"))
    data[at + 4 : at + 8] = bytes(4)  # no longer "in this file"
    assert at > 0 and len(read_frames(bytes(data))) == 4  # of this file all the same


@pytest.mark.parametrize(
    "name",
    [
        "take:1.mp4", "-x.mp4", "--help.mp4", "http:x.mp4", "file:x.mp4", "pipe:0", "concat:a|b.mp4", "data:,x.mp4",
        "subfile,,start,0,end,9,,:a.mp4", "%05d.mp4", "a b.mp4", " a.mp4", "猫.mp4", "é.mp4", "[1]?#&.MP4", "a\nb.mp4",
        "'q\".mp4", "~.mp4", "$HOME.mp4", "film",
    ],
)  # fmt: skip
def test_a_file_name_is_never_a_url_an_option_or_a_pattern(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(make_film(4))
    assert (probe(Path(name)).frames, len(read_frames(tmp_path / name))) == (4, 4)


@pytest.mark.parametrize("name", ["a\0b.mp4", "\0", "\ud800.mp4", "a" * 5000, "a/" * 5000])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(MediaError, match="cannot be the name of a file|cannot be opened"):
        probe(Path(name))


def test_a_name_that_is_no_utf_8_is_read_and_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    path.write_bytes(make_film(4))
    assert probe(path).frames == 4
    path.write_bytes(b"hello")
    with pytest.raises(MediaError) as error:
        probe(path)
    assert "caf\\udce9.mp4" in str(error.value).encode().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="LC_ALL=C makes names ASCII there only")
def test_a_name_of_any_script_is_read_where_the_locale_knows_none(tmp_path: Path) -> None:
    (tmp_path / "猫.mp4").write_bytes(make_film(4))
    code = (
        "import sys, pathlib; from mav_lightning.media.media_reader import probe;"
        "print([probe(path).frames for path in pathlib.Path(sys.argv[1]).iterdir()])"
    )
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=bare, capture_output=True, text=True)
    assert done.stdout == "[4]\n", done.stderr


@pytest.mark.parametrize("kind", ["folder of nothing", *(kind for kind in SPECIAL if kind != "a socket")])
def test_what_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.mkdir() if kind == "folder of nothing" else make_special(path, kind)
    with pytest.raises(MediaError, match="not a regular file|cannot be opened|holds no frames"):
        probe(path)


def table_of(samples: int) -> bytes:
    """An MP4 of a few kB whose table claims a number of samples of one byte each."""
    data = bytearray(make_film(4))
    for kind, place, values in (
        (b"stsz", 8, (1, samples)),
        (b"stsc", 16, (samples,)),
        (b"stts", 12, (samples,)),
    ):
        at = data.find(kind)
        data[at + place : at + place + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    return bytes(data)


def fragment_of(samples: int) -> bytes:
    """An MP4 whose first fragment claims a number of samples without sizes."""
    data = bytearray(make_film(4, container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}))
    at = data.find(b"trun")
    data[at + 4 : at + 12] = struct.pack(">II", 1, samples)
    return bytes(data)


def large_film() -> bytes:
    return make_film(np.zeros((2, 4096, 4096, 3), np.uint8), options={"crf": "51", "preset": "ultrafast"})


def many_frames() -> bytes:
    black = np.zeros((1, 16, 16, 3), np.uint8)
    return make_film(np.broadcast_to(black, (1200, 16, 16, 3)), codec="mpeg4", options={"b": "1k"})


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def large_png() -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + png_chunk(b"IEND", b"")


def large_gif() -> bytes:
    picture = b"!\xf9\x04\x00\x0a\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0x80, 0, 0) + bytes(6) + 50 * picture + b";"


def large_webp() -> bytes:
    buffer = io.BytesIO()
    images = [Image.new("RGB", (16, 16), (level, 0, 0)) for level in (10, 200)]
    images[0].save(buffer, "WEBP", save_all=True, append_images=images[1:], duration=100)
    data = bytearray(buffer.getvalue())
    data[24:30] = (15_999).to_bytes(3, "little") * 2
    return bytes(data)


BOMBS: dict[str, tuple[Callable[[], bytes], MediaLimits, str]] = {
    "table": (partial(table_of, 20_000_000), MediaLimits(), "a table claims 20000000 bytes"),
    "fragment": (partial(fragment_of, 80_000_000), MediaLimits(), "a table claims 80000000 bytes"),
    "large frames": (large_film, MediaLimits(pixels=1 << 20), "4096x4096 pixels, more than the limit"),
    "many frames": (many_frames, MediaLimits(frames=1000), "more than 1000 frames"),
    "decoded": (many_frames, MediaLimits(decoded_bytes=500_000), "921600 bytes decoded, more than the limit"),
    "png": (large_png, MediaLimits(), r"2500000000 pixels\) exceeds limit"),
    "gif": (large_gif, MediaLimits(), "30000x30000 pixels, more than the limit"),
    "webp": (large_webp, MediaLimits(), "16000x16000 pixels, more than the limit"),
}  # fmt: skip
# Of this process alone: what `getrusage` returns begins with the memory of the process that started it.
MEASURE = """
import sys
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.media_reader import read_frames
def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024
data = sys.stdin.buffer.read()
before = peak()
try:
    read_frames(data, eval(sys.argv[1]))
except MediaError as error:
    print(peak() - before, error)
else:
    print(peak() - before, "was decoded")
"""


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(kind: str) -> None:
    bomb, limits, message = BOMBS[kind]
    with pytest.raises(MediaError, match=message):
        read_frames(bomb(), limits)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory is in /proc")
@pytest.mark.parametrize("kind", ["table", "fragment", "large frames", "png", "gif", "webp"])
def test_refusing_a_bomb_takes_no_memory(kind: str) -> None:
    """In MiB above the process that has imported the reader; decoded, the bombs are 48 MiB to 18 GiB."""
    bomb, limits, _ = BOMBS[kind]
    done = subprocess.run([sys.executable, "-c", MEASURE, repr(limits)], input=bomb(), capture_output=True, check=True)
    peak, message = done.stdout.decode().split(" ", 1)
    assert "limit" in message or "claims" in message
    assert int(peak) < 24


@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory is in /proc")
def test_the_measure_of_memory_sees_what_is_decoded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "MediaLimits()"], input=large_film(), capture_output=True, check=True
    )
    peak, message = done.stdout.decode().split(" ", 1)
    assert message == "was decoded\n" and int(peak) > 90  # two frames of 48 MiB


def test_a_frame_that_outgrows_its_container_is_not_decoded() -> None:
    data = bytearray(make_film(numbered(2, 512, 512), container="matroska", options={"x264-params": "keyint=1"}))
    small = data.replace(b"\xb0\x82\x02\x00", b"\xb0\x82\x00\x40").replace(b"\xba\x82\x02\x00", b"\xba\x82\x00\x40")
    assert small != data  # the header names 64x64
    with pytest.raises(MediaError):
        read_frames(bytes(small), MediaLimits(pixels=64 * 64))


def test_reading_ends_at_the_deadline() -> None:
    with pytest.raises(MediaError, match=r"takes more than 0 s to read; re-encode it or cut it into shorter files"):
        read_frames(make_film(4), MediaLimits(seconds=0))
    with pytest.raises(MediaError, match=r"x: takes more than -1 s"):
        Deadline("x", -1).check()


def test_a_demuxer_that_reads_on_and_on_is_stopped() -> None:
    endless = box(b"ftyp", b"isom" + bytes(4)) + 200_000 * box(b"free")
    with pytest.raises(MediaError):
        probe(endless, MediaLimits(seconds=0.5))


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_ends_in_frames_or_in_a_message(seed: int) -> None:
    rng = np.random.default_rng(seed)
    makers = [{}, {"container": "matroska"}, {"container": "avi", "codec": "mpeg4"}, {"container": "mpegts"}]
    data = bytearray(make_film(8, **makers[seed % 4]))
    for place in rng.integers(0, len(data), 12):
        data[place] = rng.integers(256)
    try:
        with open_media(bytes(data)) as film:
            assert len(list(film.frames(range(len(film.timeline))))) == len(film.timeline)
    except MediaError as error:
        assert str(error).startswith(f"<{len(data)} bytes>: ")
