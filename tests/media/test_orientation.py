"""Frames are read as they are displayed: turned, mirrored, with square pixels."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from films import Frames, make_film, numbered, with_matrix
from PIL import Image

from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.media_reader import probe, read_frames
from mav_lightning.media.orientation import UPRIGHT, Orientation, displayed_width, orientation_of
from mav_lightning.media.pictures import read_picture

# Matrix → how numpy turns the stored frame, and the EXIF orientation of the same meaning.
EIGHT: dict[tuple[int, int, int, int], tuple[int, Callable[[Frames], Frames]]] = {
    (1, 0, 0, 1): (1, lambda frame: frame),
    (-1, 0, 0, 1): (2, np.fliplr),
    (-1, 0, 0, -1): (3, lambda frame: np.rot90(frame, 2)),
    (1, 0, 0, -1): (4, np.flipud),
    (0, 1, 1, 0): (5, lambda frame: frame.swapaxes(0, 1)),
    (0, 1, -1, 0): (6, lambda frame: np.rot90(frame, -1)),
    (0, -1, -1, 0): (7, lambda frame: np.rot90(frame.swapaxes(0, 1), 2)),
    (0, -1, 1, 0): (8, lambda frame: np.rot90(frame, 1)),
}


@pytest.mark.parametrize("matrix", EIGHT)
def test_a_film_is_turned_by_its_display_matrix(matrix: tuple[int, int, int, int]) -> None:
    stored = make_film(4)
    turned = read_frames(with_matrix(stored, *matrix))
    expected = np.stack([EIGHT[matrix][1](frame) for frame in read_frames(with_matrix(stored, 1, 0, 0, 1))])
    np.testing.assert_array_equal(turned, expected)
    info = probe(with_matrix(stored, *matrix))
    assert (info.height, info.width) == expected.shape[1:3]


@pytest.mark.parametrize("matrix", EIGHT)
def test_an_image_is_turned_by_its_exif_data_in_the_same_way(matrix: tuple[int, int, int, int]) -> None:
    pixels, exif, buffer = numbered(1)[0], Image.Exif(), io.BytesIO()
    exif[0x0112] = EIGHT[matrix][0]
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(read_picture(buffer.getvalue()), EIGHT[matrix][1](pixels))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_matroska_film_is_turned_as_the_same_film_in_mp4(degrees: int) -> None:
    def turn(output: Any, stream: Any) -> None:
        stream.set_display_rotation(degrees)

    in_mp4, in_mkv = (read_frames(make_film(4, container=name, setup=turn)) for name in ("mp4", "matroska"))
    np.testing.assert_array_equal(in_mkv, in_mp4)
    assert in_mp4.shape[1:3] == ((48, 64) if degrees == 180 else (64, 48))


def test_a_film_turned_by_another_angle_is_refused_by_name() -> None:
    assert orientation_of(struct.pack("=9i", 1 << 15, 1 << 15, 0, -(1 << 15), 1 << 15, 0, 0, 0, 1 << 30)) is None
    with pytest.raises(MediaError, match="displayed turned by another angle than 90, 180 or 270 degrees; re-encode"):
        read_frames(with_matrix(make_film(2), 1, 1, -1, 1))


def test_matrices_that_writers_leave_empty_or_scale_are_upright() -> None:
    assert orientation_of(bytes(36)) == UPRIGHT
    assert orientation_of(struct.pack("=9i", 2 << 16, 0, 0, 0, 2 << 16, 0, 0, 0, 1 << 30)) == UPRIGHT
    assert orientation_of(struct.pack("=9i", 0, 65530, 0, -65536, 3, 0, 0, 0, 1 << 30)) == Orientation(
        True, True, False
    )


def stretched(aspect: str, container: str = "mp4") -> bytes:
    return make_film(2, container=container, options={"x264-params": f"sar={aspect}"})


@pytest.mark.parametrize(
    ("aspect", "width"),
    [("2/1", 128), ("1/2", 32), ("4/3", 85), ("16/11", 93), ("12/11", 70), ("8/9", 57), ("64/51", 80), ("1/1", 64)],
)
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_pixels_that_are_not_square_become_square(aspect: str, width: int, container: str) -> None:
    assert read_frames(stretched(aspect, container)).shape[1:3] == (48, width)


@pytest.mark.parametrize("aspect", ["447/448", "1281/1280", "100/99"])
def test_pixels_that_are_nearly_square_stay_as_they_are(aspect: str) -> None:
    assert read_frames(stretched(aspect)).shape[1:3] == (48, 64)


@pytest.mark.parametrize(("aspect", "width"), [(None, 64), (Fraction(0), 64), (Fraction(1, 100), 1)])
def test_an_unknown_pixel_aspect_ratio_counts_as_square(aspect: Fraction | None, width: int) -> None:
    assert displayed_width(64, aspect) == width


def test_a_pixel_aspect_ratio_that_makes_huge_frames_is_a_limit() -> None:
    with pytest.raises(MediaError, match=r"512x48 pixels, more than the limit of 10000"):
        read_frames(stretched("8/1"), MediaLimits(pixels=10_000))


def test_stretched_frames_are_turned_after_they_are_stretched() -> None:
    assert read_frames(with_matrix(stretched("2/1"), 0, 1, -1, 0)).shape[1:3] == (128, 48)


@pytest.mark.parametrize("aspect", ["20/1", "1/20"])
def test_an_absurd_pixel_aspect_ratio_is_refused_by_name(aspect: str) -> None:
    with pytest.raises(MediaError, match=r"64 pixels are to be displayed as (1280|3); re-encode the file"):
        read_frames(stretched(aspect))
