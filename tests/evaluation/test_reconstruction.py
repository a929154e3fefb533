"""Measures against true frames: pairs by id, given frames left out, and LPIPS as torchmetrics computes it."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import Clip, evaluate
from evaluation.extractors.lpips_features import LPIPSSettings
from evaluation.metrics.reconstruction import LPIPS, PSNR, SSIM
from evaluation.protocol import parse_protocol
from mav_lightning.common.errors import UserError

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 200, (3, 5, 16, 12, 3)).astype(np.uint8)


def protocol(**metrics: Any) -> Any:
    sides = {"clips": None, "start": "first"}
    values = {
        "frames": 5, "fps": None, "stride": 1, "resize": [], "seed": 0, "batch": 2, "generated": sides,
        "real": sides | {"split": "val", "choice": "first", "repeat": False, "fewer": False},
        "extractors": {"frames": {"kind": "frames"}}, "metrics": metrics,
    }  # fmt: skip
    return parse_protocol("mine.yaml", values)


def clips(frames: np.ndarray, names: Sequence[str] = "abc") -> list[Clip]:
    return [Clip(name, own, 8.0) for name, own in zip(names, frames, strict=True)]


def score(made: np.ndarray, **metric: Any) -> Any:
    found = evaluate(clips(made), clips(TRUTH), protocol(mine={"of": "frames"} | metric))
    return found["metrics"]["mine"], found["clips"]


def test_psnr_by_hand() -> None:
    assert score(TRUTH, kind="psnr")[0]["value"] == 100.0, "equal frames"
    found, each = score(TRUTH + np.uint8(5), kind="psnr")
    assert found["value"] == pytest.approx(20 * np.log10(255 / 5)) and found["n"] == 3
    assert each["b"]["mine"] == pytest.approx(found["value"])


def test_clips_are_paired_by_id() -> None:
    shuffled = evaluate(clips(TRUTH[::-1], "cba"), clips(TRUTH), protocol(mine={"kind": "psnr", "of": "frames"}))
    assert shuffled["metrics"]["mine"]["value"] == 100.0
    dotted = evaluate(clips(TRUTH, ["a.1.mp4", "a.2", "é"]), clips(TRUTH, ["a.1", "a.2.mkv", "e\u0301"]), protocol(
        mine={"kind": "psnr", "of": "frames"}
    ))  # fmt: skip
    assert dotted["metrics"]["mine"]["value"] == 100.0, "suffixes of media and spellings do not matter"
    with pytest.raises(UserError, match="mine: 1 generated clips have no real clip of the same id, first `d`"):
        evaluate(clips(TRUTH, "abd"), clips(TRUTH), protocol(mine={"kind": "psnr", "of": "frames"}))


def test_given_frames_of_an_interpolation_are_not_counted() -> None:
    made = TRUTH.copy()
    made[:, [0, 2, 4]] += np.uint8(50)  # given frames, every second
    assert score(made, kind="psnr", every=2)[0]["value"] == 100.0
    assert score(made, kind="psnr")[0]["value"] < 100.0


def test_ssim_is_that_of_torchmetrics_per_clip() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    made = RNG.integers(0, 256, TRUTH.shape).astype(np.uint8)
    found, each = score(made, kind="ssim")
    first = [torch.from_numpy(side[0]).permute(0, 3, 1, 2).double() for side in (made, TRUTH)]
    assert each["a"]["mine"] == pytest.approx(float(structural_similarity_index_measure(*first, data_range=255.0)))
    assert score(TRUTH, kind="ssim")[0]["value"] == pytest.approx(1.0)


def test_other_sizes_are_refused() -> None:
    small = TRUTH[:, :, :8]
    with pytest.raises(UserError, match="generated and real clips differ in size; add a step `resize`"):
        score(small, kind="psnr")
    mixed = [Clip("a", TRUTH[0], 8.0), Clip("b", small[1], 8.0)]
    with pytest.raises(UserError, match="features of other shapes .* add a step `resize`"):
        evaluate(mixed, clips(TRUTH), protocol(mine={"kind": "psnr", "of": "frames"}))


def write_alexnet(path: Path) -> Path:
    """Write random convolutions, and one number in place of the classifier, which LPIPS does not use (234 MB)."""
    from torchvision.models import alexnet

    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in alexnet(weights=None).state_dict().items()}
    torch.manual_seed(0)
    weights = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.startswith("features"):
            weights[name] = torch.randn(shape) * (2 / shape[1:].numel()) ** 0.5
    torch.save(weights, path)
    return path


def test_lpips_is_that_of_torchmetrics_on_the_same_weights(tmp_path: Path) -> None:
    path = write_alexnet(tmp_path / "alexnet.pth")
    extractor: Any = LPIPSSettings(str(path)).load(Path()).extractor
    made, truth = (RNG.integers(0, 256, (2, 64, 72, 3)).astype(np.uint8) for _ in range(2))
    rows = []
    with torch.no_grad():
        for frames in (made, truth):
            rows.append(extractor(extractor.prepare(Clip("a", frames, 8.0))[None])[0].numpy())
        images = [torch.from_numpy(one).permute(0, 3, 1, 2).float() / 127.5 - 1 for one in (made, truth)]
        wanted = extractor.lpips(*images).flatten().numpy()
    np.testing.assert_allclose(LPIPS("lpips").compare(*rows), wanted, rtol=1e-4)
    with pytest.raises(UserError, match="32x32 pixels; LPIPS needs at least 63 per side"):
        extractor.prepare(Clip("a", made[:, :32, :32], 8.0))


def test_another_file_is_no_alexnet(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not the weights of torchvision's AlexNet"):
        LPIPSSettings(str(tmp_path / "other.pth")).load(Path())
    with pytest.raises(UserError, match="no such file"):
        LPIPSSettings("missing.pth").load(tmp_path)


def test_each_gives_the_number_it_declares() -> None:
    cut = SimpleNamespace(numbers=(0, 1), seconds=None)
    values = {"frames": np.zeros((1, 2 * 12, 12 * 3), np.uint8), "lpips": np.zeros((1, 2, 5))}
    from evaluation.metrics.base import Features

    extracted: Any = SimpleNamespace(
        features=lambda name, side: Features(["a"], ["a"], values[name]), cuts=lambda side: [cut]
    )
    for metric in (PSNR("frames"), SSIM("frames"), LPIPS("lpips")):
        assert list(metric.measure("mine", extracted).scores) == list(metric.declared("mine", []))
