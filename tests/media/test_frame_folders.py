"""Folders of frames: their numbers tell the order, or the folder is rejected."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from films import numbered
from PIL import Image

from mav_lightning.media.frame_series import frame_files, read_array
from mav_lightning.media.limits import MediaError
from mav_lightning.media.media_reader import open_media

FULL_WIDTH, ARABIC = 0xFF10, 0x660  # their digit 0


def folder_of(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / name).touch()
    return root


def in_script(zero: int, number: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in str(number))


@pytest.mark.parametrize(
    "names",
    [
        [f"frame ({number}).png" for number in range(1, 13)],
        [f"frame {number:4}.png" for number in range(8, 12)],
        [f"{number:3}.png" for number in range(98, 102)],
        [f"frame{number:3}_{10 * number:5}.png" for number in range(8, 12)],
        [f"{in_script(FULL_WIDTH, number)}.png" for number in range(12)],
        [f"{in_script(ARABIC, number)}.png" for number in range(12)],
        [f"{number * 5}.jpg" for number in range(12)],
        [f"shot1.{number}.png" for number in range(8, 13)],
        [f"{100 + number / 10:.2f}.png" for number in range(20)],
        [f"2024-05-0{1 + number // 6}_{number}.png" for number in range(12)],
        [f"00-{59 + number // 50}-{(10 + number) % 60:02}.png" for number in range(60)],
        ["0.png", "33.png", "67.png", "100.png", "133.png"],
        ["0.png", "7.png", "8.png", "31.png"],
    ],
    ids=lambda names: ascii(names[1]),
)
def test_numbers_of_any_script_and_kind_tell_the_order(names: list[str], tmp_path: Path) -> None:
    assert [file.name for file in frame_files(folder_of(tmp_path, names[::-1]))] == names


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([f"cam{camera}_{number:03}.png" for camera in range(2) for number in range(4)], "holds 2 series of frames"),
        ([f"{number:04}_{eye}.png" for number in range(4) for eye in range(2)], "holds 4 series of frames"),
        (["frame  1.png", "frame1.png", "frame 2.png"], "holds a frame twice"),
        ([f"{number * 0.25}.png" for number in range(12)], "the order of its frames is not clear"),
        (
            [f"{number}.png" for number in range(13) if number != 5],
            r"1 frame\(s\) are missing between `4.png` and `6.png`",
        ),
        (
            [f"{number * 2}.png" for number in range(24) if number not in (7, 8)],
            r"2 frame\(s\) are missing between `12.png` and `18.png`",
        ),
    ],
)
def test_frames_of_no_clear_order_and_missing_frames_are_named(names: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=reason):
        frame_files(folder_of(tmp_path, names))


def test_an_orientation_that_is_no_number_turns_no_frame(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 0x0112, 2, 2, b"6", 0)
    for number, frame in enumerate(numbered(3)):
        Image.fromarray(frame).save(tmp_path / f"{number}.jpg", exif=exif)

    with open_media(tmp_path, 8.0) as video:
        assert video.size == (64, 48)
        assert next(video.frames([0])).shape == (48, 64, 3)


def test_arrays_that_hold_nothing_or_damage_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, numbered(4))
    for data, reason in (
        (buffer.getvalue().replace(b"(4, 48, 64, 3)", b"(4, 48, 64, 3,"), "no readable array"),
        (buffer.getvalue()[:200], "no readable array"),
        (b"", "no readable array"),
        (b"PK\x03\x04 no archive", "no readable array"),
        (bytes(4096), r"no readable array \(it does not begin as one\); write it with numpy.save"),
    ):
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(MediaError, match=reason):
            read_array(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", numbered(0))
    with pytest.raises(MediaError, match="holds no frames"):
        read_array(tmp_path / "a.npy")
