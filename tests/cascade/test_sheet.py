"""The contact sheet: frames apart from each other, large enough to see, with their prompts; given ones are marked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mav_lightning.cascade.clip_writer import write_clip
from mav_lightning.cascade.sheet import write_sheet
from mav_lightning.common.manifest import ClipRecord, read_manifest, write_manifest

PAPER = (250, 250, 248)


def folder_of(tmp_path: Path, size: int, frames: int, clips: int = 1, prompt: str = "a red circle") -> Path:
    for number in range(clips):
        pixels = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, size, size, 3))
        write_clip(tmp_path / f"{number}.mkv", pixels, 8.0, "")
    records = [ClipRecord(str(number), f"{number}.mkv", 8.0, prompt, seed=number) for number in range(clips)]
    write_manifest(tmp_path, records)
    return tmp_path


def shown_frames(sheet: Image.Image) -> list[tuple[int, int]]:
    """Gray level and width of every frame in the first row of frames."""
    row = np.asarray(sheet)[20 + 24 + 5].astype(int)
    inside = (row != PAPER).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside, [0]])))
    return [(int(row[start, 0]), int(end - start)) for start, end in edges.reshape(-1, 2)]


@pytest.mark.parametrize(("size", "cell"), [(16, 128), (32, 128), (64, 128), (100, 100), (128, 128), (256, 128)])
def test_frames_are_scaled_by_whole_factors_to_about_128_pixels(size: int, cell: int, tmp_path: Path) -> None:
    write_sheet(folder_of(tmp_path, size, 3), tmp_path / "sheet.png")
    assert shown_frames(Image.open(tmp_path / "sheet.png")) == [(0, cell), (1, cell), (2, cell)]


def test_ten_evenly_spaced_frames_are_shown_with_the_first_and_the_last(tmp_path: Path) -> None:
    write_sheet(folder_of(tmp_path, 16, 33), tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert [level for level, _ in shown_frames(sheet)] == [0, 4, 7, 11, 14, 18, 21, 25, 28, 32]
    assert sheet.width <= 1400


def test_the_number_of_clips_shown_is_returned(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 16, 2, clips=5)
    assert write_sheet(folder, tmp_path / "sheet.png") == 5
    assert write_sheet(folder, tmp_path / "part.png", most=3) == 3
    heights = [Image.open(tmp_path / name).height - 40 for name in ("sheet.png", "part.png")]
    assert heights[0] * 3 == heights[1] * 5


def test_a_long_prompt_stays_on_its_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 16, 2, prompt="very\nlong " * 200)
    write_sheet(folder, tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").width < 1400


def test_given_frames_are_underlined(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 16, 5)
    (record,) = read_manifest(folder)
    write_manifest(folder, [replace(record, given=[0, 1, 4])])
    write_sheet(folder, tmp_path / "sheet.png")
    below = np.asarray(Image.open(tmp_path / "sheet.png"))[20 + 24 + 128 + 2, 20:]
    middles = [tuple(below[column * (128 + 4) + 64]) for column in range(5)]
    line = (25, 25, 30)
    assert middles == [line, line, PAPER, PAPER, line]


def test_of_a_long_clip_those_given_frames_are_underlined_that_are_shown(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 16, 33)
    (record,) = read_manifest(folder)
    write_manifest(folder, [replace(record, given=list(range(12)))])
    write_sheet(folder, tmp_path / "sheet.png")
    below = np.asarray(Image.open(tmp_path / "sheet.png"))[20 + 24 + 128 + 2, 20:]
    shown = [0, 4, 7, 11, 14, 18, 21, 25, 28, 32]
    underlined = [number for place, number in enumerate(shown) if tuple(below[place * (128 + 4) + 64]) != PAPER]
    assert underlined == [0, 4, 7, 11]
