"""Classes that no training can use, or could resume, are rejected before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder, ModelPruning
from torch import Tensor, nn
from torch.utils.data import DataLoader
from toy_training import FEATURES, ToyBatch, ToyModule, run

from mav_lightning.common.errors import UserError


class Lazy(ToyModule):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(3)


class Counter(nn.Module):
    def get_extra_state(self) -> dict[str, int]:
        return {"count": 0}


class ExtraState(ToyModule):
    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()


class TwoAutomatic(ToyModule):
    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters()) for part in (self.net[0], self.net[3])]


class HiddenLayers(ToyModule):
    def __init__(self) -> None:
        super().__init__()
        self.heads = [nn.Linear(FEATURES, FEATURES)]

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([*self.net.parameters(), *self.heads[0].parameters()])


class Returns(ToyModule):
    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.change = change

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Any:
        return self.change((self.net(batch.x) - batch.x).square().mean(1))


class ByHand(ToyModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class EMA(Callback):
    def state_dict(self) -> dict[str, Any]:
        return {"own": 1}


class NoLoader(LightningDataModule):
    pass


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "a network": ({"build": lambda: nn.Linear(6, 6)}, "module: must be a LightningModule, got a Linear; give it"),
    "a loader": ({"data": DataLoader([1])}, "data: must be a LightningDataModule, got a DataLoader; return loaders"),
    "a class": ({"extra": [EMA]}, "callbacks: must be a Callback, got the class EMA itself; give instances"),
    "two of one name": (
        {"extra": [EarlyStopping("loss/val"), EarlyStopping("loss/val")]},
        "callbacks: 2 have the name `EarlySt",
    ),
    "the run's own name": ({"extra": [EMA()]}, "callbacks: 2 have the name `EMA` in a checkpoint, .* rename the class"),
    "a rate finder": ({"extra": [LearningRateFinder()]}, "callbacks: LearningRateFinder finds a setting anew"),
    "a batch finder": ({"extra": [BatchSizeFinder()]}, "callbacks: BatchSizeFinder finds a setting anew"),
    "pruning": ({"extra": [ModelPruning("l1_unstructured")]}, "callbacks: ModelPruning renames the weights"),
    "lazy layers": ({"build": Lazy}, "module: `head.weight` has no shape yet; pass one batch through"),
    "extra state": ({"build": ExtraState}, "module: `counter._extra_state` of its state dict is a dict"),
    "two optimizers": (
        {"build": TwoAutomatic},
        "module: configures 2 optimizers, .* self.automatic_optimization = False",
    ),
    "a logger": (
        {"logger": object()},
        "logger: must be a Logger, got a object; give one of Lightning's, a subclass, or a name",
    ),
}


class NoOptimizer(ToyModule):
    def configure_optimizers(self) -> Any:
        return None


class NoSteps(ByHand):
    def training_step(self, batch: ToyBatch, batch_idx: int) -> Any:
        return None


LATER: dict[str, tuple[dict[str, Any], str]] = {
    "hidden layers": ({"build": HiddenLayers}, r"module: its optimizer trains weights of shapes \(6, 6\), \(6,\) that"),
    "no optimizer": ({"build": NoOptimizer}, "module: configures no optimizer, so nothing would be trained"),
    "no steps": ({"build": NoSteps}, "ended at step 0 of 23, because no optimizer takes a step"),
    "a loss of each sample": (
        {"build": lambda: Returns(lambda x: x)},
        r"Returns.training_step: .* shape \(4,\); return",
    ),
    "a detached loss": (
        {"build": lambda: Returns(lambda x: x.mean().detach())},
        "the loss depends on no trained weight",
    ),
    "a loss of Python": (
        {"build": lambda: Returns(lambda x: 1.0)},
        "Lightning cannot train this: .*must return a Tensor",
    ),
    "no loader": ({"data": NoLoader()}, "Lightning cannot train this: `train_dataloader` must be implemented"),
    "clipping by hand": (
        {"build": ByHand, "trainer": {"gradient_clip_val": 1.0}},
        "Lightning cannot train this: Automatic gradient clipping is not supported for manual optimization",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_cannot_be_trained_is_rejected_before_anything_is_written(name: str, tmp_path: Path) -> None:
    arguments, message = REJECTED[name]
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", trace=False, **arguments)

    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize("name", LATER)
def test_what_lightning_meets_first_is_rejected_before_the_first_step(name: str, tmp_path: Path) -> None:
    arguments, message = LATER[name]
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", trace=False, **arguments)

    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert not list((tmp_path / "run").rglob("*.ckpt"))
