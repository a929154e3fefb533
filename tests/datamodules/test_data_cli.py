import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from datamodules.index import load_index
from mav_lightning.cli.data import app


def mav_data(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.output


def test_help_is_there_before_anything_heavy_is_imported() -> None:
    heavy = "{'torch', 'lightning', 'av', 'numpy', 'datamodules'} & set(sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, mav_lightning.cli.data; print({heavy})"], capture_output=True, text=True
    )

    assert loaded.stdout.strip() == "set()", loaded.stderr


def test_shapes_index_lint_and_show_work_on_one_another(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    numbers = ["--images", 3, "--clips", 2, "--val-images", 1, "--val-clips", 1, "--size", 16, "--seconds", 1]

    written = mav_data("shapes", "--out", out, *numbers, "--fps", 8, "--processes", 1)
    indexed = mav_data("index", out)
    linted = mav_data("lint", out)
    mav_data("show", out, "--out", tmp_path / "sheet.png", "--rows", 1)

    assert "3 + 1 stills, 2 + 1 clips." in written
    assert f"3 samples, 0 bad, sha256 {load_index(out / 'images' / 'train').sha256[:16]}" in indexed
    assert linted.count("0 problems") == 4
    assert (tmp_path / "sheet.png").is_file()


def test_lint_exits_with_1_and_names_what_is_wrong(clip_folder: Path) -> None:
    shard = clip_folder / "00000.tar"
    data = bytearray(shard.read_bytes())
    data[load_index(clip_folder)[0][1].members["mp4"].offset] ^= 1
    shard.write_bytes(data)

    result = CliRunner().invoke(app, ["lint", str(clip_folder)])

    assert result.exit_code == 1
    assert "00000.tar:0-0: `.mp4` has changed since it was indexed" in result.output


def test_pack_lists_the_files_it_could_not_use(tmp_path: Path, png: bytes) -> None:
    for name in ("good.png", "untold.png"):
        (tmp_path / name).write_bytes(png)
    (tmp_path / "bad.png").write_bytes(png[:30])
    (tmp_path / "captions.tsv").write_text("file\tcaption\ngood.png\ta tile\nbad.png\ta wreck\n")

    output = mav_data("pack", tmp_path, "--captions", tmp_path / "captions.tsv", "--out", tmp_path / "out", "--val", 0)

    assert "1 sample" in output
    assert "1 undecodable, left out:\n  bad.png: " in output
    assert "images are left out):\n  untold.png" in output
