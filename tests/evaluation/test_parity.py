"""Whole protocols beside the recipes that they stand for, written anew from their description, on small networks."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import frechet_distance as clean_fid_distance
from numpy.typing import NDArray
from recipes import polynomial_mmd
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from evaluation import evaluate, load_protocol
from evaluation.metrics.frechet import frechet_distance
from evaluation.moments import Moments
from evaluation.protocol import FOLDER
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.media.media_reader import read_frames

Array = NDArray[np.float64]
N, FRAMES, WIDTH, HEIGHT = 40, 16, 20, 16


class Projected(nn.Module):
    """Twelve values a clip: a fixed mixture of coarse colours, after the resize that StyleGAN-V leaves to its file."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.randn(192, 12, generator=torch.Generator().manual_seed(0)) / 14)

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale:
            x = 2 * x.float() / 255 - 1
        return nn.functional.adaptive_avg_pool3d(x, [4, 4, 4]).flatten(1) @ self.mix


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and generated clips of noise that drifts, in frames that are no squares."""
    root = tmp_path_factory.mktemp("clips")
    for side, seed, tint in (("real", 1, 0), ("generated", 2, 25)):
        rng = np.random.default_rng(seed)
        (root / side).mkdir()
        for number in range(N):
            start, drift = rng.uniform(0, 200, (HEIGHT, WIDTH, 3)), rng.normal(0, 4, (1, 1, 3))
            frames = [(start + drift * step + tint).clip(0, 255).astype(np.uint8) for step in range(FRAMES)]
            write_lossless(root / side / f"{number:02}.mkv", np.stack(frames), 25.0)
    return root


def videos(clips: Path, side: str) -> Tensor:
    """(N, 3, T, H, W) uint8."""
    frames = [read_frames(file) for file in sorted((clips / side).iterdir())]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1)


def script(network: nn.Module, path: Path) -> Any:
    torch.jit.script(network.eval()).save(str(path))
    return torch.jit.load(str(path)).eval()


def by_raw_moments(a: Array, b: Array) -> float:
    """StyleGAN-V: raw second moments over n, in float64, and the real part of scipy's root."""
    (mean_a, left), (mean_b, right) = (
        ((mean := rows.mean(axis=0)), rows.T @ rows / len(rows) - np.outer(mean, mean)) for rows in (a, b)
    )
    root = scipy.linalg.sqrtm(left @ right)
    return float(np.square(mean_a - mean_b).sum() + np.trace(left + right - 2 * root.real))


def by_symmetric_root(a: Array, b: Array) -> float:
    """TATS: covariances over n-1 and the trace of the root of S T S, where S² = A; here in float64."""
    left, right = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    u, s, v = np.linalg.svd(left)
    root = (u * np.sqrt(s)) @ v
    product = root @ right @ root
    trace = np.sqrt(np.clip(np.linalg.eigvalsh((product + product.T) / 2), 0, None)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(left) + np.trace(right) - 2 * trace)


def test_styleganv_divides_raw_moments_by_n_and_leaves_the_resize_to_the_file(clips: Path, tmp_path: Path) -> None:
    network = script(Projected(), tmp_path / "i3d_torchscript.pt")

    text = (FOLDER / "fvd-styleganv-2048x16.yaml").read_text()
    for old, new in (("clips: 2048", f"clips: {N}"), (r"sha256: \w{64}", "sha256: null")):
        text = re.sub(old, new, text)
    (tmp_path / "mine.yaml").write_text(text)
    protocol = load_protocol(str(tmp_path / "mine.yaml"))
    metrics = evaluate(clips / "generated", clips / "real", protocol, weights=tmp_path)["metrics"]
    values = {name: score["value"] for name, score in metrics.items()}

    sides = [
        network(videos(clips, side), rescale=True, resize=True, return_features=True).double().numpy()
        for side in ("generated", "real")
    ]
    assert values["fvd-styleganv-2048x16"] == pytest.approx(by_raw_moments(*sides), rel=1e-6)
    assert values["kvd-styleganv-2048x16"] == pytest.approx(polynomial_mmd(*sides), rel=1e-6)
    assert values["fvd-styleganv-2048x16"] != pytest.approx(by_symmetric_root(*sides), rel=1e-3)


def test_the_distance_is_torchmetrics_and_clean_fids_on_the_same_features() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 24)) @ rng.normal(size=(24, 24)), rng.normal(size=(400, 24)) + 0.3
    theirs = FrechetInceptionDistance(feature=Handed(), input_img_size=(3, 8, 1)).set_dtype(torch.float64)
    for rows, real in ((a, False), (b, True)):
        theirs.update(torch.from_numpy(rows).reshape(-1, 3, 8, 1), real=real)

    ours = frechet_distance(Moments.of(a), Moments.of(b))

    assert ours == pytest.approx(float(theirs.compute()), rel=1e-6)
    moments = [f(rows) for rows in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x, rowvar=False))]
    assert ours == pytest.approx(clean_fid_distance(*moments), rel=1e-6)
    assert ours == pytest.approx(by_symmetric_root(a, b), rel=1e-6)
    assert frechet_distance(Moments.of(a), Moments.of(b), "n") == pytest.approx(by_raw_moments(a, b), rel=1e-6)


class Handed(nn.Module):
    """Hands features through torchmetrics, which takes them for images."""

    num_features = 24

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double()
