from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.contact_sheet import contact_sheet
from datamodules.index import build_index, load_index
from datamodules.lint import lint
from mav_lightning.common import video_encoding
from mav_lightning.common.errors import UserError
from mav_lightning.common.video_encoding import encode_mp4


def test_healthy_shards_have_no_problems(shapes: Path) -> None:
    reports = {str(report.folder.relative_to(shapes)): report for report in lint(shapes)}

    assert set(reports) == {"clips/train", "clips/val", "images/train", "images/val"}
    assert not any(report.problems for report in reports.values())
    assert reports["clips/train"].uncaptioned == reports["clips/train"].samples == 22
    assert reports["clips/val"].uncaptioned == 0


def test_lint_finds_what_the_index_could_not(
    make_shard: Callable[..., Path], make_mp4: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_encoding, "with_checksum", lambda data: data)  # as in files of other programs
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    video = bytearray(encode_mp4(noise, fps=20.0).replace(b"uuid", b"free"))  # without the checksum in it
    video[len(video) // 2 : len(video) // 2 + 2000] = bytes(2000)
    members = [("bad.mp4", bytes(video)), ("bad.txt", b"x"), ("good.mp4", make_mp4(8)), ("good.txt", b"y")]
    folder = make_shard(members).parent
    assert not build_index(folder).errors

    (report,) = lint(folder)

    assert list(report.problems) == ["00000.tar:bad"]


def test_lint_finds_bytes_that_changed_after_indexing(clip_folder: Path) -> None:
    sample = load_index(clip_folder)[6][1]
    data = bytearray((clip_folder / "00001.tar").read_bytes())
    data[sample.members["mp4"].offset] ^= 1
    (clip_folder / "00001.tar").write_bytes(data)

    (report,) = lint(clip_folder)

    assert set(report.problems) == {"00001.tar", "00001.tar:1-0"}


def test_a_contact_sheet_shows_every_folder(shapes: Path, tmp_path: Path) -> None:
    contact_sheet(shapes, tmp_path / "sheet.png", rows=2, columns=4)
    contact_sheet(shapes / "clips" / "val", tmp_path / "part.png", rows=2, columns=4)

    whole, part = (Image.open(tmp_path / name) for name in ("sheet.png", "part.png"))
    assert whole.width == part.width
    assert whole.height > 3 * part.height
    assert len(part.getcolors(1 << 20)) > 100
    assert {path.name for path in tmp_path.iterdir()} >= {"sheet.png", "part.png"}


def test_a_sheet_can_show_clips_at_the_rate_and_size_of_a_training(
    make_shard: Callable[..., Path], make_mp4: Callable[..., bytes], tmp_path: Path
) -> None:
    folder = make_shard([("a.mp4", make_mp4(40, fps=20.0, size=64))]).parent  # frame i has the gray level 4 i
    build_index(folder)

    contact_sheet(folder, tmp_path / "sheet.png", columns=4, fps=5.0, size=2)

    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"), int)
    levels = [pixels[20 + 46 + 56, 20 + column * (112 + 6) + 56] for column in range(4)]
    assert np.abs(np.diff(levels) - 16).max() <= 2, levels  # four frames of the file at a time, wherever it starts


def test_a_sheet_names_the_files_that_were_packed(
    make_shard: Callable[..., Path], make_mp4: Callable[..., bytes], tmp_path: Path
) -> None:
    drawn = []
    for name in ("cat.mp4", "dog.mp4"):
        folder = make_shard([("a.mp4", make_mp4(4)), ("a.json", f'{{"file": "{name}"}}'.encode())]).parent
        build_index(folder)
        contact_sheet(folder, tmp_path / f"{name}.png")
        drawn.append((tmp_path / f"{name}.png").read_bytes())

    assert drawn[0] != drawn[1]


def test_empty_places_are_refused(tmp_path: Path, shapes: Path) -> None:
    for call in (lambda path: lint(path), lambda path: contact_sheet(path, tmp_path / "x.png")):
        with pytest.raises(UserError, match=r"holds no \.tar shards"):
            call(tmp_path)
        with pytest.raises(UserError, match="no such folder"):
            call(tmp_path / "nowhere")
    with pytest.raises(UserError, match="rows: must be .* above 0, got 0"):
        contact_sheet(shapes, tmp_path / "x.png", rows=0)
