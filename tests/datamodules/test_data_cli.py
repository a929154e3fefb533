import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from datamodules.index import load_index
from mav_lightning.cli.data import app
from mav_lightning.common.errors import UserError


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


def test_results_are_replaced_only_on_demand(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    numbers = ["--images", 3, "--clips", 2, "--val-images", 1, "--val-clips", 1, "--size", 16, "--seconds", 1]
    command = [str(word) for word in ["shapes", "--out", out, *numbers, "--processes", 1]]
    mav_data(*command, "--seed", 1)
    first = load_index(out / "images" / "train").sha256

    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, UserError) and "replace it with --overwrite" in str(refused.exception)
    assert load_index(out / "images" / "train").sha256 == first

    mav_data(*command, "--overwrite")
    assert load_index(out / "images" / "train").sha256 != first

    (out / "notes.txt").write_text("precious")
    refused = CliRunner().invoke(app, [*command, "--overwrite"])
    assert isinstance(refused.exception, UserError) and "holds `notes.txt`, which would be lost" in str(
        refused.exception
    )
    assert (out / "notes.txt").read_text() == "precious"


def test_lint_names_captions_that_are_not_read_to_the_end(tmp_path: Path, png: bytes) -> None:
    long = " ".join(f"word{number}" for number in range(18))
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png)
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\n0.png\tshort\n1.png\t{long}\n")
    out = tmp_path / "out"
    mav_data("pack", tmp_path, "--captions", tmp_path / "captions.tsv", "--out", out, "--val", 0)

    output = mav_data("lint", out)

    assert "2 samples, 0 problems" in output
    assert "1 warning about captions:\n" in output
    assert "`word16 word17` is not read, since the text encoder reads 16 tokens at most" in output


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

    assert "1 sample\n" in output
    assert "1 undecodable, left out:\n  bad.png: " in output
    assert "images are left out):\n  untold.png" in output
