"""Whole protocols beside the recipes that they stand for, written anew from their description, on small networks."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import frechet_distance as clean_fid_distance
from cleanfid.resize import make_resizer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics.image.fid import FrechetInceptionDistance

from evaluation import Evaluation, Protocol, evaluate, load_protocol
from evaluation.distance import frechet_distance
from evaluation.extractors.i3d import I3DNetwork
from evaluation.protocol import FOLDER
from evaluation.statistics import Moments
from mav_lightning.common.video import read_frames, write_lossless

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


class Classes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (nn.functional.adaptive_avg_pool3d(x.float(), [1, 2, 1]).flatten(1) / 12).softmax(dim=1)


class Layers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(nn.functional.adaptive_avg_pool2d(x, [2, 2]).flatten(1), [0, 2036])


class TinyInception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return self.layers(img)


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


@pytest.fixture(scope="module")
def few(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first eight of either side, for networks that take their time."""
    root = tmp_path_factory.mktemp("few")
    for side in ("generated", "real"):
        (root / side).mkdir()
        for file in sorted((clips / side).iterdir())[:8]:
            (root / side / file.name).write_bytes(file.read_bytes())
    return root


def written(folder: Path, name: str, *changes: tuple[str, str]) -> Protocol:
    """A shipped protocol, some of whose text is replaced."""
    text = (FOLDER / f"{name}.yaml").read_text()
    everywhere = ((r"clips: \d{4,5}", f"clips: {N}"), (r"sha256: \w{64}", "sha256: null"), ("git_blob: a867b87a, ", ""))
    for old, new in (*everywhere, *changes):
        text = re.sub(old, new, text)
    (folder / "mine.yaml").write_text(text)
    return load_protocol(str(folder / "mine.yaml"))


def scored(clips: Path, folder: Path, name: str, *changes: tuple[str, str], force: bool = False) -> dict[str, float]:
    """Values under it."""
    protocol = written(folder, name, *changes)
    real = clips / "real" if protocol.real else None
    results = evaluate(clips / "generated", real, protocol, force, weights=folder)
    return {metric: score["value"] for metric, score in results["metrics"].items()}


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


def polynomial_mmd(a: Array, b: Array) -> float:
    """TATS's kernel distance: degree 3, gamma 1/d, coef0 1, unbiased."""
    kernels = [(x @ y.T / a.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    n, m = len(a), len(b)
    own = (
        (kernels[0].sum() - np.trace(kernels[0])) / (n * (n - 1)),
        (kernels[1].sum() - np.trace(kernels[1])) / (m * (m - 1)),
    )
    return float(own[0] + own[1] - 2 * kernels[2].mean())


def test_styleganv_divides_raw_moments_by_n_and_leaves_the_resize_to_the_file(clips: Path, tmp_path: Path) -> None:
    network = script(Projected(), tmp_path / "i3d_torchscript.pt")

    values = scored(clips, tmp_path, "fvd-styleganv-2048x16")

    sides = [
        network(videos(clips, side), rescale=True, resize=True, return_features=True).double().numpy()
        for side in ("generated", "real")
    ]
    assert values["fvd-styleganv-2048x16"] == pytest.approx(by_raw_moments(*sides), rel=1e-6)
    assert values["kvd-styleganv-2048x16"] == pytest.approx(polynomial_mmd(*sides), rel=1e-6)
    assert values["fvd-styleganv-2048x16"] != pytest.approx(by_symmetric_root(*sides), rel=1e-3)


def test_tats_stretches_frames_and_divides_by_one_less_than_n(few: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = I3DNetwork(epsilon=1e-5).eval()
    torch.save(network.state_dict(), tmp_path / "i3d_pretrained_400.pt")

    values = scored(few, tmp_path, "fvd-tats-2048x16", ("size: 224", "size: 32"), ("clips: 40", "clips: 8"), force=True)

    sides = []
    for side in ("generated", "real"):
        frames = videos(few, side).transpose(1, 2).flatten(0, 1).float()
        seen = F.interpolate(frames, (32, 32), mode="bilinear").unflatten(0, (8, FRAMES)).transpose(1, 2)
        with torch.no_grad():
            sides.append(network(2 * seen / 255 - 1).double().numpy())
    # fewer clips than features, and logits of a random network that hardly differ: float32 shows in the sixth digit
    assert values["fvd-tats-2048x16"] == pytest.approx(by_symmetric_root(*sides), rel=1e-3)
    assert values["kvd-tats-2048x16"] == pytest.approx(polynomial_mmd(*sides), rel=1e-3, abs=1e-9)


def test_the_inception_score_is_the_mean_over_splits(clips: Path, tmp_path: Path) -> None:
    network = script(Classes(), tmp_path / "c3d_ucf101.pt")

    values = scored(clips, tmp_path, "is-styleganv-2048", ("splits: 10", "splits: 1"))

    p = network(videos(clips, "generated")).double().numpy()
    kl = (p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1)
    (value,) = values.values()
    assert value == pytest.approx(np.exp(kl.mean()), rel=1e-6)


def test_fid_sees_what_clean_fid_sees(few: Path, tmp_path: Path) -> None:
    network = script(TinyInception(), tmp_path / "inception-2015-12-05.pt")
    protocol = written(tmp_path, "fid-clean", ("clips: 40", "clips: 8"))
    evaluation = Evaluation(few / "generated", few / "real", protocol, tmp_path / "kept", weights=tmp_path)

    for reading in evaluation.extraction.readings(evaluation.extraction.missing()):
        evaluation.extraction.take(reading)
    evaluation.extraction.finish()

    resize, frechet = make_resizer("PIL", False, "bicubic", (299, 299)), protocol.metrics["fid-clean"]
    for side in ("generated", "real"):
        frames = videos(few, side).movedim(1, -1).flatten(0, 1).numpy()
        with torch.no_grad():
            rows = [network.layers((torch.from_numpy(resize(one)).movedim(-1, 0)[None] - 128) / 128) for one in frames]
        found = evaluation.features("inception", side).values  # type: ignore[arg-type]
        np.testing.assert_allclose(found.reshape(-1, 2048), torch.cat(rows).numpy(), rtol=1e-5, atol=1e-6)
    assert asdict(frechet) == {"of": "inception", "divisor": "n-1"}


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
