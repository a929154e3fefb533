"""Objects as plain data: equal for equal arguments, different for what changes results."""

import copy
import functools
import json
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import LambdaLR, SequentialLR
from toy_training import ToyData, ToyModule

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import BetaFps
from datamodules.joint import JointData
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.modules.clip_module import CLIPModule
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.modules.denoising import Denoising
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.interpolator import Interpolator
from mav_lightning.modules.optim import WarmupCosine
from mav_lightning.nn.small_clip import SmallCLIP
from mav_lightning.nn.unet import SpaceTimeUNet
from mav_lightning.training.description import describe, describe_data, describe_module, describe_optimizers


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "shapes"
    WriteShapesWorld(images=4, clips=4, val_images=2, val_clips=2, size=16, seconds=1.0, processes=1).run(out)
    return out


def clips(root: Path, **changes: Any) -> ClipData:
    fps = BetaFps(**{"low": 4.0, "high": 16.0, "clips": 400} | changes.pop("fps", {}))
    return ClipData(root, **{"size": 16, "frames": 3, "fps": fps, "batch_size": 2} | changes)


def test_a_copy_of_the_data_is_the_same_data(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").symlink_to(shapes)
    assert describe_data(clips(shapes)) == describe_data(clips(tmp_path / "copy"))
    assert str(shapes) not in str(describe_data(clips(shapes)))


@pytest.mark.parametrize(
    "changes",
    [{"fps": {"low": 2.0}}, {"fps": {"clips": 800}}, {"frames": 4}, {"size": 12}, {"batch_size": 1}, {"seed": 1}],
    ids=str,
)
def test_other_arguments_are_other_data(changes: dict[str, Any], shapes: Path) -> None:
    assert describe_data(clips(shapes, **changes)) != describe_data(clips(shapes))


def test_workers_and_caches_do_not_count(shapes: Path) -> None:
    assert describe_data(clips(shapes, workers=2, cache_mb=5)) == describe_data(clips(shapes))


def test_other_shards_are_other_data(shapes: Path, tmp_path: Path) -> None:
    WriteShapesWorld(images=4, clips=5, val_images=2, val_clips=2, size=16, seconds=1.0, processes=1).run(
        tmp_path / "other"
    )
    assert describe_data(clips(tmp_path / "other"))["root"] != describe_data(clips(shapes))["root"]


def test_both_parts_of_joint_data_count_by_their_content(shapes: Path) -> None:
    joint = describe_data(JointData(clips(shapes), ImageData(shapes, 16, 2)))
    assert joint["clips"]["root"].startswith("sha256 ") and joint["images"]["root"].startswith("sha256 ")


def decoder(**changes: Any) -> TemporalDecoder:
    net = SpaceTimeUNet(
        **{"channels": 8, "head_channels": 8, "multipliers": (1,), "attention": (0,)} | changes.pop("net", {})
    )
    denoising = Denoising(**changes.pop("denoising", {}))
    return TemporalDecoder(net, denoising, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"net": {"channels": 16}},
        {"net": {"fps": "off"}},
        {"denoising": {"cond_dropout": 0.2}},
        {"denoising": {"schedule": WarmupCosine(10)}},
        {"denoising": {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-3)}},
        {"denoising": {"optimizer": functools.partial(torch.optim.SGD, lr=3e-4)}},
        {"spatial_lr": 0.5},
        {"spatial_lr": 0.0},
    ],
    ids=range(8),
)
def test_other_settings_are_another_module(changes: dict[str, Any]) -> None:
    assert describe_module(decoder(**changes)) != describe_module(decoder())


def test_the_class_counts() -> None:
    net = {"channels": 8, "head_channels": 8, "multipliers": (1,), "attention": (0,)}
    assert describe_module(Interpolator(SpaceTimeUNet(**net, in_channels=7)))["class"].endswith("Interpolator")


def test_initial_weights_do_not_count_but_those_of_parents_and_encoders_do() -> None:
    parents = [decoder().denoiser, decoder().denoiser]
    assert describe_module(decoder()) == describe_module(decoder())
    ours, others = (describe_module(decoder(parent=parent)) for parent in parents)
    assert ours["transferred"]["parent_sha256"] != others["transferred"]["parent_sha256"]

    clip = SmallCLIP(size=16, channels=64)
    same, other = FrozenCLIP(clip), FrozenCLIP(SmallCLIP(size=16, channels=64))
    first, again, third = (
        describe_module(decoder(denoising={"encoder": encoder})) for encoder in (same, FrozenCLIP(clip), other)
    )
    assert first == again != third


def test_optimizers_and_schedules_are_described_if_they_need_no_trainer() -> None:
    adamw, schedule = describe_optimizers(decoder(denoising={"schedule": WarmupCosine(10)}))
    assert adamw["class"] == "torch.optim.adamw.AdamW" and adamw["groups"][0]["betas"] == [0.9, 0.99]
    assert schedule["lr_lambdas"] == [{"steps": 10, "final": 0.02, "warmup": 100}]

    class Lazy(ToyModule):
        def configure_optimizers(self) -> Any:
            return self.trainer.max_steps

    assert describe_optimizers(Lazy()) == []


def test_an_object_may_describe_itself() -> None:
    class Own(ToyData):
        def __init__(self) -> None:
            super().__init__()
            self.opened = object()

        def identity(self) -> dict[str, Any]:
            return {"version": 3}

    assert describe_data(Own())["version"] == 3 and "opened" not in describe_data(Own())


def test_hyperparameters_that_lightning_saves_count() -> None:
    class Saved(LightningModule):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.save_hyperparameters()

    assert describe_module(Saved(0.1))["hyperparameters"] == {"rate": 0.1}


@pytest.mark.parametrize("value", [1, "a", None, True, 2.5, [1, {"a": 2}]])
def test_plain_values_are_themselves(value: object) -> None:
    assert describe(value) == value


def test_other_values_become_plain() -> None:
    assert describe(float("inf")) == "inf" and describe(Path("/x")) is None
    assert describe({3, 1}) == [1, 3] and describe(CLIPModule).endswith("clip_module.CLIPModule")
    assert describe(torch.zeros(2)) == describe(torch.zeros(2)) != describe(torch.zeros(3))
    circular: list[Any] = []
    circular.append(circular)
    assert describe(circular) == [[[[[[[[None]]]]]]]]


class Choice(Enum):
    """Two settings."""

    ONE, TWO = 1, 2


class Private:
    """Keeps an argument under a private name, behind a property."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    @property
    def rate(self) -> float:
        return self._rate


@dataclass(slots=True)
class Slotted:
    """Has no dictionary of attributes."""

    rate: float


def decaying(rate: float) -> Any:
    return lambda step: rate**step


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Choice.ONE, Choice.TWO),
        (Private(1.0), Private(2.0)),
        (Slotted(1.0), Slotted(2.0)),
        (torch.float16, torch.float32),
        (range(2), range(3)),
        (b"a", b"b"),
        (1 + 2j, 1 + 3j),
        (timedelta(1), timedelta(2)),
        (np.float32(1), np.float32(2)),
        (np.array(["a"]), np.array(["b"])),
        (np.array([1, "a"], dtype=object), np.array([2, "a"], dtype=object)),
        (torch.eye(2).to_sparse(), torch.ones(2, 2).to_sparse()),
        (decaying(0.5), decaying(0.9)),
        (Private(1.0).__init__, Private(2.0).__init__),  # type: ignore[misc]
        ([0] * 2000, [0] * 1999 + [1]),
    ],
)
def test_settings_of_every_kind_count(one: Any, other: Any) -> None:
    assert describe(one) != describe(other)
    assert describe(one) == describe(copy.deepcopy(one))
    assert len(json.dumps(describe(one))) < 200


def test_schedules_by_functions_count_by_what_these_compute() -> None:
    class Scheduled(ToyModule):
        def __init__(self, rate: float, wrapped: bool) -> None:
            super().__init__()
            self.make, self.wrapped = decaying(rate), wrapped

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.net.parameters(), lr=1.0)
            schedule = LambdaLR(optimizer, self.make)
            parts = [LambdaLR(optimizer, lambda step: 1.0), schedule]
            return [optimizer], [SequentialLR(optimizer, parts, [3]) if self.wrapped else schedule]

    for wrapped in (False, True):
        half, again, slow = (describe_optimizers(Scheduled(rate, wrapped))[1] for rate in (0.5, 0.5, 0.9))
        assert half == again != slow


def test_layers_count_by_code_of_ones_own() -> None:
    class Layer(torch.nn.Module):
        pass

    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    Other.__qualname__, Other.__name__ = Layer.__qualname__, Layer.__name__
    described = []
    for kind in (Layer, Layer, Other):
        module = ToyModule()
        module.extra = kind()
        described.append(describe_module(module)["layers"]["extra"])
    assert described[0] == described[1] != described[2]
    assert "code=" in described[0]
