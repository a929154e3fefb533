"""Damage is found before wrong frames are used: by checksums where there are any, by the decoder elsewhere."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from films import make_film, numbered

from mav_lightning.common.mp4_boxes import boxes
from mav_lightning.common.mp4_checksum import checksum_matches, with_checksum
from mav_lightning.common.video_encoding import encode_mp4, write_lossless
from mav_lightning.media.ffv1_slices import damaged_packets, has_valid_slices
from mav_lightning.media.limits import MediaError
from mav_lightning.media.matroska_size import stated_end
from mav_lightning.media.media_reader import probe, read_frames

NOISE = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def lossless(folder: Path) -> bytes:
    write_lossless(folder / "clip.mkv", NOISE, 8.0)
    return (folder / "clip.mkv").read_bytes()


MAKERS: dict[str, Callable[[Path], bytes]] = {"mp4": lambda folder: encode_mp4(NOISE, 8.0), "mkv": lossless}


@pytest.mark.parametrize("kind", MAKERS)
def test_no_flipped_bit_of_our_own_files_gives_other_frames(kind: str, tmp_path: Path) -> None:
    data = MAKERS[kind](tmp_path)
    right, refused = read_frames(data), 0
    for number in range(60):
        place = int((number + 0.5) * len(data) / 60)
        flipped = bytearray(data)
        flipped[place] ^= 1 << (number % 8)
        try:
            np.testing.assert_array_equal(read_frames(bytes(flipped)), right)
        except MediaError:
            refused += 1
    assert refused > 50  # the others are in text that encoders leave


def test_a_checksum_covers_frames_and_tables_but_not_metadata() -> None:
    data = encode_mp4(NOISE, 8.0, comment="first")
    edited = data.replace(b"first", b"other")
    assert len(read_frames(edited)) == 12
    with pytest.raises(MediaError, match=r"is damaged \(its checksum differs\); restore or remove the file"):
        read_frames(data.replace(b"stts\x00\x00\x00\x00\x00\x00\x00\x01", b"stts\x00\x00\x00\x00\x00\x00\x00\x02"))


def test_files_of_others_have_no_checksum_and_need_none() -> None:
    data = make_film(4)
    file = io.BytesIO(data)
    assert checksum_matches(file, list(boxes(file, len(data)))) is None
    file = io.BytesIO(with_checksum(data))
    assert checksum_matches(file, list(boxes(file, len(with_checksum(data))))) is True
    np.testing.assert_array_equal(read_frames(with_checksum(data)), read_frames(data))


def test_boxes_are_found_at_any_depth_and_end_where_there_are_none() -> None:
    data = make_film(4)
    kinds = [box.kind for box in boxes(io.BytesIO(data), len(data))]
    assert {b"ftyp", b"mdat", b"moov", b"trak", b"stbl", b"stsz"} <= set(kinds)
    assert list(boxes(io.BytesIO(bytes(16)), 16))[0].end == 16  # length 0: to the end
    assert list(boxes(io.BytesIO(b"\x00\x00\x00\x04free"), 8)) == []


def test_ffv1_without_checksums_is_not_damaged() -> None:
    data = make_film(4, container="matroska", codec="ffv1", pixels="bgr0", options={"slicecrc": "0"})
    assert len(read_frames(data)) == 4
    assert damaged_packets([False, False]) == [] and damaged_packets([True, False, True]) == [1]
    assert not has_valid_slices(b"") or has_valid_slices(b"")  # nothing to check
    assert not has_valid_slices(bytes(5)) and not has_valid_slices(b"\xff" * 40)


@pytest.mark.parametrize("part", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_download_that_was_cut_off_is_refused_by_name(container: str, part: float) -> None:
    from films import index_first

    data = index_first(make_film(numbered(24), container=container, options={"g": "6"}))
    with pytest.raises(MediaError, match=r"lists 24 frames, but holds \d+: cut off|cannot be decoded"):
        probe(data[: int(part * len(data))])


@pytest.mark.parametrize("part", [0.4, 0.7, 0.95])
@pytest.mark.parametrize(("container", "codec"), [("matroska", "libx264"), ("webm", "libvpx")])
def test_a_cut_matroska_file_is_refused_unless_it_states_no_size(container: str, codec: str, part: float) -> None:
    data = make_film(24, container=container, codec=codec)
    assert stated_end(data) == len(data) and probe(data).frames == 24
    with pytest.raises(MediaError, match=f"states {len(data)} bytes, but has .*: cut off; fetch it again, or remux"):
        probe(data[: int(part * len(data))])

    recorded = make_film(24, container=container, codec=codec, container_options={"live": "1"})
    assert stated_end(recorded) is None
    assert 0 < probe(recorded[: int(0.8 * len(recorded))]).frames < 24


def test_a_matroska_size_is_read_from_any_header() -> None:
    header = b"\x1a\x45\xdf\xa3\x82ab"
    assert stated_end(header + b"\xec\x81\0" + b"\x18\x53\x80\x67\x40\x05") == len(header) + 3 + 6 + 5
    for head in (
        b"",
        header,
        header[:4],
        header + b"\x18\x53\x80\x67\xff",
        header + b"\x18\x53\x80\x67\0\0",
        b"\0" * 99,
    ):
        assert stated_end(head) is None


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_recording_without_its_index_is_refused_by_name(container: str) -> None:
    data = make_film(24, container=container)
    with pytest.raises(MediaError, match="cannot be decoded .*; re-encode or remove the file"):
        probe(data[: data.find(b"moov") - 4])


def test_a_hole_in_the_frames_is_found() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    data = bytearray(make_film(noise))
    data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
    with pytest.raises(MediaError, match="re-encode or remove the file"):
        read_frames(bytes(data))
    assert probe(bytes(data)).frames == 20  # its first frame is whole
