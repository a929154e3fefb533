"""Bad input that only shows when frames or networks are looked at, and folders that are no folders."""

import io
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from command import Run, evaluator, noise_clips
from torch import Tensor, nn

from evaluation.protocol import FOLDER
from mav_lightning.common.video_encoding import write_lossless


class Fragile(nn.Module):
    """Probabilities that are no numbers where the first pixel is white."""

    def forward(self, x: Tensor) -> Tensor:
        white = x.float()[:, 0, 0, 0, 0] == 255
        p = (nn.functional.adaptive_avg_pool3d(x.float(), [1, 2, 2]).flatten(1) / 9).softmax(dim=1)
        return torch.where(white[:, None], torch.nan, p)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return noise_clips(tmp_path / "clips")


@pytest.fixture
def run(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Scores the clips under a small copy of a protocol without real clips; gives exit code and what was printed."""
    text = (FOLDER / "is-styleganv-2048.yaml").read_text()
    for old, new in (
        ("frames: 16", "frames: 4"), ("clips: 2048", "clips: null"), ("batch: 16", "batch: 2"),
        (r"splits: \d+", "splits: 1"),
    ):  # fmt: skip
        text = re.sub(old, new, text)
    (tmp_path / "mine.yaml").write_text(text)
    torch.jit.script(Fragile()).save(str(tmp_path / "c3d_ucf101.pt"))

    paths = {"--generated": clips, "--features": tmp_path / "kept", "--weights": tmp_path, "--fps": 25}
    paths |= {"--protocol": tmp_path / "mine.yaml", "--out": tmp_path / "results.json"}
    return evaluator(paths, monkeypatch, capsys)


def white(clips: Path) -> None:
    frames = np.random.default_rng(9).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    frames[0, 0, 0, 0] = 255
    write_lossless(clips / "3.mkv", frames, 25.0)


def changing_size(clips: Path) -> None:
    """Two streams one after the other, as joined broadcasts are."""
    joined = b""
    for side in (64, 128):
        part = io.BytesIO()
        with av.open(part, "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=Fraction(25))
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            for _ in range(3):
                frame = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        joined += part.getvalue()
    (clips / "3.mkv").unlink()
    (clips / "3.mp4").write_bytes(joined)


def archive(clips: Path) -> None:
    (clips / "3.mkv").unlink()
    np.savez(clips / "3.npz", frames=np.zeros((4, 16, 16, 3), np.uint8))
    (clips / "3.npz").rename(clips / "3.npy")


def no_height(clips: Path) -> None:
    (clips / "3.mkv").unlink()
    np.save(clips / "3.npy", np.zeros((4, 0, 16, 3), np.uint8))


def of_floats(clips: Path) -> None:
    (clips / "3.mkv").unlink()
    np.save(clips / "3.npy", np.zeros((4, 16, 16, 3), np.float32))


@pytest.mark.parametrize(("spoil", "message"), [
    (of_floats, r"`3\.npy`: frames must be uint8 in 0\.\.255, got float32"),
    (white, r"`3\.mkv`: extractor `c3d` gave values that are not finite; look at the clip"),
    (changing_size, r"`3\.mp4`: .*the frames differ in size; re-encode or remove the file"),
    (archive, r"`3\.npy`: .*no readable array .*; write it with numpy\.save"),
    (no_height, r"`3\.npy`: frames must have shape \(T, H, W, 3\), got \(4, 0, 16, 3\)"),
])  # fmt: skip
def test_a_bad_clip_is_named_the_others_are_kept_and_only_it_is_read_again(
    run: Run, clips: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(clips)

    code, told = run()

    assert code == 2, told
    assert re.search(f"1 of 6 clips cannot be measured: {message}", told), told
    assert "The features of the others are kept" in told
    (bad,) = (file for file in clips.iterdir() if file.stem == "3")
    bad.unlink()
    shutil.copy(clips / "0.mkv", clips / "other.mkv")  # of known content
    code, told = run()
    assert code == 0, told
    assert "0/0" in told, "nothing is read again"


def test_real_clips_are_asked_for_where_a_metric_needs_them(run: Run, tmp_path: Path) -> None:
    code, told = run("--protocol", "shapes-tiny")

    assert code == 2
    assert "protocol shapes-tiny compares with real clips; give their folder" in told
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("option", ["--out", "--features"])
def test_a_file_where_a_folder_should_be_and_the_other_way_round(run: Run, tmp_path: Path, option: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")

    code, told = run(option, str(tmp_path / ("folder" if option == "--out" else "file")))

    assert code == 2 and option.strip("-") in told, told


class Picky(nn.Module):
    """Takes clips of sixteen frames alone, as C3D does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean(dim=[3, 4]).reshape(x.shape[0], 3, 16).mean(dim=2).softmax(dim=1)


def test_a_network_that_was_made_for_other_clips_is_named(run: Run, tmp_path: Path) -> None:
    torch.jit.script(Picky()).save(str(tmp_path / "c3d_ucf101.pt"))

    code, told = run()

    assert code == 2
    assert re.search(
        r"`c3d` cannot take clips of 4 frames, prepared as \(3, 4, 16, 16\) \(.*invalid for input.*\); choose", told
    )
