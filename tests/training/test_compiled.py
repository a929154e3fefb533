"""Training with a compiled network: the same weights to rounding, under the same names."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from datamodules.datamodule import ClipData
from datamodules.fps_sampler import UniformFps
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.common.errors import UserError
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.nn.unet import SpaceTimeUNet
from mav_lightning.training.fit import fit
from tests.training.toy_training import ToyData, ToyModule


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "shapes"
    WriteShapesWorld(images=2, clips=4, val_images=2, val_clips=2, size=16, seconds=1.0, processes=1).run(out)
    return out


def train(shapes: Path, out: Path, compile: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = TemporalDecoder(SpaceTimeUNet(channels=8, multipliers=[1, 2], attention=[1], head_channels=8))
    data = ClipData(shapes, size=8, frames=5, fps=UniformFps(4, 16), batch_size=2)
    fit(module, data, out=out, steps=2, compile=compile, logger=False)
    return load_file(out / "weights.safetensors")


@pytest.mark.slow
def test_a_compiled_training_ends_with_the_same_weights_to_rounding(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    real = nn.Module.compile

    def by_tracing_only(module: nn.Module) -> None:  # inductor takes minutes; what it must get right is PyTorch's
        compiled.append(type(module).__name__)
        real(module, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", by_tracing_only)
    plain, fast = train(shapes, tmp_path / "plain", False), train(shapes, tmp_path / "fast", True)

    assert compiled == ["SpaceTimeUNet"]
    assert plain.keys() == fast.keys()
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_a_module_without_a_denoiser_is_not_compiled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compile: compiles the network of a denoiser, and ToyModule trains none"):
        fit(ToyModule(), ToyData(), out=tmp_path, steps=2, compile=True, logger=False)


def test_a_missing_compiler_is_told_before_the_first_step(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"compile: needs a C\+\+ compiler on the CPU; install g\+\+ or set CXX"):
        train(shapes, tmp_path, True)
