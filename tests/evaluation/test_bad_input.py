"""Bad input through the command line: named, counted, exit code 2, no traceback, nothing half-written."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Run, evaluator, noise_clips
from PIL import Image
from torch import Tensor, nn

from evaluation.protocol import FOLDER
from mav_lightning.common.manifest import MANIFEST
from mav_lightning.common.video_encoding import encode_mp4, write_lossless


class Fragile(nn.Module):
    """A classifier whose values are no numbers where the first pixel is white."""

    def forward(self, x: Tensor) -> Tensor:
        white = x.float()[:, 0, 0, 0, 0] == 255
        return torch.where(
            white[:, None], torch.nan, nn.functional.adaptive_avg_pool3d(x.float(), [1, 2, 2]).flatten(1)
        )


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return noise_clips(tmp_path / "clips")


@pytest.fixture
def run(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Evaluates the clips against a copy of themselves under a small protocol; gives exit code and what was printed."""
    real = shutil.copytree(clips, tmp_path / "real")
    text = (FOLDER / "fvd-styleganv-2048x16.yaml").read_text()
    for old, new in (
        ("frames: 16", "frames: 4"), ("clips: 2048", "clips: 6"), ("batch: 16", "batch: 2"),
        (r"sha256: \w+", "sha256: null"),
        ("i3d-torchscript", "classifier-torchscript"), ("weights: [^,]+", "logits: true, weights: net.pt"),
    ):  # fmt: skip
        text = re.sub(old, new, text)
    (tmp_path / "mine.yaml").write_text(text)
    torch.jit.script(Fragile()).save(str(tmp_path / "net.pt"))

    paths = {"--generated": clips, "--real": real, "--features": tmp_path / "kept", "--weights": tmp_path}
    paths |= {"--protocol": tmp_path / "mine.yaml", "--out": tmp_path / "results.json"}
    return evaluator(paths, monkeypatch, capsys)


def test_the_folder_as_it_is_does(run: Run) -> None:
    code, told = run("--force")

    assert code == 0, told


def shorter(clips: Path) -> None:
    write_lossless(clips / "1.mkv", np.zeros((3, 16, 16, 3), np.uint8), 25.0)


def empty(clips: Path) -> None:
    (clips / "1.mkv").write_bytes(b"")


def truncated(clips: Path) -> None:
    (clips / "1.mkv").unlink()
    data = encode_mp4(np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3)).astype(np.uint8), 25)
    (clips / "1.mp4").write_bytes(data[: len(data) // 2])


def of_floats(clips: Path) -> None:
    (clips / "1.mkv").unlink()
    np.save(clips / "1.npy", np.zeros((4, 16, 16, 3), np.float32))


@pytest.mark.parametrize(("spoil", "message"), [
    (shorter, r"1 of 6 generated clips cannot be measured: `1\.mkv`: has 3 frames, but 4 need 4; provide longer"),
    (empty, r"1 of 6 generated clips cannot be measured: `1\.mkv`: .* cannot be decoded"),
    (truncated, r"1 of 6 generated clips cannot be measured: `1\.mp4`: .*; re-encode or remove the file"),
    (of_floats, r"1 of 12 clips .*`1\.npy`: frames must be uint8 in 0\.\.255, got float32; convert x in .* by numpy"),
])  # fmt: skip
def test_a_bad_clip_is_named_and_counted(run: Run, clips: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(clips)

    code, told = run("--force", "--fps", "25")

    assert code == 2
    assert re.search(message, told), told


def test_a_video_that_breaks_off_behind_its_header_is_named(run: Run, clips: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3)).astype(np.uint8)
    write_lossless(clips / "1.mkv", noise, 25.0)
    data = bytearray((clips / "1.mkv").read_bytes())
    data[3000:9000] = bytes(6000)  # within the first frame
    (clips / "1.mkv").write_bytes(bytes(data))

    code, told = run("--force")

    assert code == 2
    assert re.search(r"1 of 1?[26] (generated )?clips cannot be measured: `1\.mkv`: ", told), told


def test_features_that_are_no_numbers_name_their_clip_and_the_others_are_kept(
    run: Run, clips: Path, tmp_path: Path
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    frames[0, 0, 0, 0] = 255
    write_lossless(clips / "4.mkv", frames, 25.0)

    code, told = run("--force")

    assert code == 2
    assert "1 of 12 clips cannot be measured: `4.mkv`: extractor `i3d` gave values that are not finite" in told
    assert "The features of the others are kept; fix or remove these." in told
    (clips / "4.mkv").write_bytes((clips / "3.mkv").read_bytes())
    code, told = run("--force")
    assert code == 0
    assert "0/0" in told, "what was mended has the bytes of a clip that is there, so nothing is read"


def test_pictures_of_sixteen_bits_are_named(run: Run, clips: Path) -> None:
    for file in clips.iterdir():
        file.unlink()
    for number in range(6):
        (clips / str(number)).mkdir()
        for frame in range(4):
            levels = np.full((16, 16), 4000, np.uint16)
            Image.fromarray(levels).save(clips / str(number) / f"{frame}.png")

    code, told = run("--force", "--fps", "25")

    assert code == 2
    assert re.search(r"6 of 6 clips|6 of 12 clips", told), told
    assert "pixels of more than 8 bits (mode I;16); save the image with 8 bits a channel" in told, told


def test_prompts_that_do_not_match_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.tsv").write_text("id\tprompt\n0\ta cat\n1\ta dog\nx\ta cow\n")

    code, told = run("--force", "--prompts", str(tmp_path / "prompts.tsv"))

    assert code == 2
    assert "6 clips and 3 prompts do not match: 4 clips without a prompt" in told
    assert "1 prompts without a clip, first `x`" in told


def test_a_list_of_prompts_without_ids_says_how_to_name_the_clips(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")

    code, told = run("--prompts", str(tmp_path / "prompts.txt"))

    assert code == 2 and "names no clips; begin it with the line `id<TAB>prompt`" in told


def test_weights_that_are_missing_or_altered_are_named(run: Run, tmp_path: Path) -> None:
    pinned = (tmp_path / "mine.yaml").read_text().replace("sha256: null", f"sha256: {'a' * 64}")
    (tmp_path / "pinned.yaml").write_text(pinned)

    code, told = run("--protocol", str(tmp_path / "pinned.yaml"))
    assert code == 2 and re.search(r"net\.pt: has sha256 \w{64}, not a{64}; get the file again", told), told

    (tmp_path / "net.pt").unlink()
    code, told = run()
    assert code == 2 and "net.pt: no such file; `mav weights list` shows known weights" in told


def test_clips_with_the_visible_mark_are_measured_only_on_request_and_noted(
    run: Run, clips: Path, tmp_path: Path
) -> None:
    names = [path.name for path in sorted(clips.iterdir())]
    records = [{"id": str(i), "file": name, "fps": 25.0, "prompt": None} for i, name in enumerate(names)]
    (clips / MANIFEST).write_text(json.dumps({"version": 1, "made": {"mark": True, "scale": 1}, "clips": records}))

    code, told = run("--force")
    assert code == 2, told
    assert re.search("the clips have the visible mark; generate them with --no-mark, or set .*marked", told), told

    code, told = run("--force", "--marked")
    assert code == 0, told
    notes = json.loads((tmp_path / "results.json").read_text())["notes"]
    assert "the clips have the visible mark, which the numbers include" in notes


def test_too_few_clips_say_how_many_are_needed(run: Run, clips: Path) -> None:
    (clips / "5.mkv").unlink()

    code, told = run()

    assert code == 2 and "requires 6 generated clips, got 5; generate more, or set `force`" in told
