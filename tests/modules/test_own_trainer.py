"""The modules behave as Lightning's users expect: own Trainer, test, predict, load_from_checkpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.modules.decoder import SpatialDecoder, TemporalDecoder
from mav_lightning.modules.interpolator import Interpolator
from mav_lightning.modules.super_resolution import SuperResolution
from mav_lightning.networks.card import Card
from mav_lightning.nn.unet import SpaceTimeUNet
from mav_lightning.training.checkpointer import CardWriter

CHANNELS: dict[str, Any] = {"channels": 8, "multipliers": [1], "attention": [0], "head_channels": 8, "cond_channels": 4}


def clips() -> ClipBatch:
    pixels = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ClipBatch(pixels, torch.tensor([4.0, 8.0]), ["a", "b"])


def images() -> ImageBatch:
    return ImageBatch(clips().pixels[:, :, 0], None, ["a", "b"])


class Loader:
    """One batch."""

    def __init__(self, batch: ClipBatch | ImageBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[ClipBatch | ImageBatch]:
        return iter([self.batch])


class Data(LightningDataModule):
    """One batch, for every loader."""

    def __init__(self, batch: ClipBatch | ImageBatch) -> None:
        super().__init__()
        self.batch = batch

    def _loader(self) -> Loader:
        return Loader(self.batch)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = _loader


def trainer(folder: Path, **arguments: Any) -> Trainer:
    return Trainer(max_steps=2, accelerator="cpu", logger=CSVLogger(folder), enable_progress_bar=False, **arguments)


def sampled(folder: Path, module: LightningModule, batch: ClipBatch | ImageBatch) -> Tensor:
    samples: Any = trainer(folder).predict(module, Data(batch))
    found: Tensor = samples[0]
    return found


def test_own_trainer_with_our_module_trains_tests_and_samples(tmp_path: Path) -> None:
    module, own = TemporalDecoder(SpaceTimeUNet(**CHANNELS)), trainer(tmp_path)
    own.fit(module, Data(clips()))
    scores = own.test(module, Data(clips()), verbose=False)
    samples = sampled(tmp_path, module, clips())

    assert scores[0]["loss/test"] > 0
    assert samples.shape == (2, 3, 4, 8, 8) and samples.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "make", "extra"),
    [(SpatialDecoder, images, 0), (Interpolator, clips, 4), (SuperResolution, clips, 4), (SuperResolution, images, 4)],
)
def test_every_module_samples_what_its_batches_hold(
    kind: type[LightningModule], make: Callable[[], ClipBatch | ImageBatch], extra: int, tmp_path: Path
) -> None:
    module = kind(SpaceTimeUNet(**CHANNELS, in_channels=3 + extra), **({"crop": 8} if kind is SuperResolution else {}))
    one = make()
    first, again = (sampled(tmp_path, module, one) for _ in range(2))

    assert first.shape == one.pixels.shape and torch.equal(first, again)


def saved(tmp_path: Path, module: TemporalDecoder, *callbacks: object) -> Path:
    own = trainer(tmp_path, callbacks=list(callbacks))
    own.fit(module, Data(clips()))
    own.save_checkpoint(tmp_path / "module.ckpt")
    return tmp_path / "module.ckpt"


NODE = {
    "_target_": "mav_lightning.diffusion.denoiser.EDMDenoiser",
    "net": {"_target_": "mav_lightning.nn.unet.SpaceTimeUNet", **CHANNELS},
}


def test_a_checkpoint_of_a_training_builds_its_module(tmp_path: Path) -> None:
    module = TemporalDecoder(SpaceTimeUNet(**CHANNELS), spatial_lr=0.5)
    file = saved(tmp_path, module, CardWriter(tmp_path, Card.of(NODE)))

    loaded = TemporalDecoder.load_from_checkpoint(file)

    assert loaded.spatial_lr == 0.5
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())


def test_a_checkpoint_without_a_description_takes_the_network_as_an_argument(tmp_path: Path) -> None:
    module = TemporalDecoder(SpaceTimeUNet(**CHANNELS))
    file = saved(tmp_path, module)

    with pytest.raises(UserError, match="does not describe its network; pass it as `denoiser`"):
        TemporalDecoder.load_from_checkpoint(file)
    loaded = TemporalDecoder.load_from_checkpoint(file, denoiser=SpaceTimeUNet(**CHANNELS))

    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())


def test_a_checkpoint_of_a_stranger_runs_and_imports_nothing(tmp_path: Path) -> None:
    file = saved(tmp_path, TemporalDecoder(SpaceTimeUNet(**CHANNELS)))
    content = torch.load(file, weights_only=True)
    content["network"] = {"class": "os.system", "command": f"touch {tmp_path}/ran"}
    torch.save(content, file)

    with pytest.raises(UserError, match=r"os\.system"):
        TemporalDecoder.load_from_checkpoint(file)
    assert not (tmp_path / "ran").exists()


def test_hyperparameters_of_a_stranger_are_plain_values(tmp_path: Path) -> None:
    file = saved(tmp_path, TemporalDecoder(SpaceTimeUNet(**CHANNELS)))
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"] = {"spatial_lr": -1.0, "_instantiator": "os.system"}
    torch.save(content, file)

    with pytest.raises(UserError, match="spatial_lr"):
        TemporalDecoder.load_from_checkpoint(file, denoiser=SpaceTimeUNet(**CHANNELS))
