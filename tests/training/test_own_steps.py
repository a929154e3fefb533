"""Modules that do more than a training step: what they change at a step is in its checkpoint."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from toy_training import FEATURES, At, ToyBatch, ToyModule, fail, run

from mav_lightning.training.checkpoint_io import checkpoint_step, checkpoints


class OwnAverage(ToyModule):
    """Averages its weights itself, after each batch, and counts in an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def on_train_batch_end(self, *args: Any) -> None:
        self.count += 1
        for mean, weight in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.data.lerp_(weight.data, 0.1)


class EndsPasses(ToyModule):
    """Changes its weights at the end of each pass, by its number."""

    def on_train_epoch_end(self) -> None:
        self.net[0].weight.data.mul_(1 + 0.1 * self.current_epoch)


class Scheduled(ToyModule):
    """Has another schedule."""

    def __init__(self, kind: Callable[..., Any], **settings: Any) -> None:
        super().__init__()
        self.kind, self.settings = kind, settings

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.kind(optimizer), **self.settings}}


class TwoOptimizers(ToyModule):
    """Takes two optimizer steps in each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.judge = nn.Linear(FEATURES, 1)

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        first, second = self.optimizers()  # type: ignore[misc]
        losses = [self._loss(batch), self.judge(self.net(batch.x).detach()).square().mean()]
        for optimizer, loss in zip((first, second), losses, strict=True):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("loss/train", losses[0], batch_size=len(batch))
        return losses[0]

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters()) for part in (self.net, self.judge)]


class LayersOfSetup(ToyModule):
    """Builds a layer only when Lightning sets it up."""

    def setup(self, stage: str) -> None:
        self.late = nn.Linear(FEATURES, FEATURES)

    def _loss(self, batch: ToyBatch) -> Tensor:
        return (self.late(self.net(batch.x)) - batch.x).square().mean()


class Backbone(ToyModule):
    """Has a backbone, which Lightning's callback unfreezes in the third pass."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(FEATURES, FEATURES)

    def _loss(self, batch: ToyBatch) -> Tensor:
        return (self.net(self.backbone(batch.x)) - batch.x).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([one for one in self.parameters() if one.requires_grad], lr=0.01)


class Closures(ToyModule):
    """Has an optimizer that computes the loss several times in a step."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.net.parameters(), lr=0.05, max_iter=3)


def stepped(optimizer: torch.optim.Optimizer) -> StepLR:
    return StepLR(optimizer, 1, 0.5)


def following(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, patience=0)


# What a module does → how to build it, settings of the run, and the step at which it fails, behind a checkpoint.
OWN: dict[str, tuple[Callable[[], ToyModule], dict[str, Any], int]] = {
    "averages in on_train_batch_end": (OwnAverage, {}, 9),
    "ends passes": (EndsPasses, {"checkpoint_every": 5}, 11),
    "ends passes that accumulate": (EndsPasses, {"checkpoint_every": 2, "trainer": {"accumulate_grad_batches": 3}}, 5),
    "schedules by every second pass": (
        lambda: Scheduled(stepped, interval="epoch", frequency=2),
        {"checkpoint_every": 5},
        11,
    ),
    "follows the loss of a step": (lambda: Scheduled(following, interval="step", monitor="loss/train"), {}, 9),
    "follows an earlier validation": (lambda: Scheduled(following, monitor="loss/val"), {}, 9),
    "has two optimizers": (TwoOptimizers, {"checkpoint_every": 5}, 10),
    "builds layers in setup": (LayersOfSetup, {}, 9),
    "computes losses in closures": (Closures, {}, 9),
}


def results(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", OWN)
def test_a_run_that_fails_and_is_resumed_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    build, more, step = OWN[name]
    settings = {"steps": 13, "trace": False, "background_checkpoints": False, **more}
    run(tmp_path / "whole", module=build(), **settings)

    with pytest.raises(RuntimeError, match="on purpose"):
        run(tmp_path / "cut", module=build(), extra=[At("on_train_batch_start", step, fail)], **settings)
    assert checkpoints(tmp_path / "cut" / "checkpoints")
    run(tmp_path / "cut", module=build(), **settings)

    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_unfreezing_by_lightnings_callback_is_averaged_and_resumed(tmp_path: Path) -> None:
    def train(folder: Path, *more: Any) -> None:
        finetuning = BackboneFinetuning(unfreeze_backbone_at_epoch=1, verbose=False)
        run(folder, module=Backbone(), steps=13, trace=False, background_checkpoints=False, extra=[finetuning, *more])

    train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="on purpose"):
        train(tmp_path / "cut", At("on_train_batch_start", 9, fail))
    train(tmp_path / "cut")

    assert results(tmp_path / "cut") == results(tmp_path / "whole")


class Hyperparameters(ToyModule):
    """Saves its arguments, as Lightning's users do."""

    def __init__(self, rate: float, optimizer: Any, root: Path) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_hyperparameters_that_are_plain_are_in_the_checkpoint_and_the_others_do_no_harm(tmp_path: Path) -> None:
    run(tmp_path, steps=2, trace=False, module=Hyperparameters(0.5, functools.partial(torch.optim.SGD), Path("a")))

    saved = torch.load(checkpoints(tmp_path / "checkpoints")[0], weights_only=True)
    assert saved["hyper_parameters"] == {"rate": 0.5}


def test_steps_that_two_optimizers_skip_over_are_saved_and_logged(tmp_path: Path) -> None:
    run(tmp_path, module=TwoOptimizers(), steps=9, checkpoint_every=5, trace=False, logger="csv",
        trainer={"log_every_n_steps": 3})  # fmt: skip

    assert [checkpoint_step(one) for one in checkpoints(tmp_path / "checkpoints")] == [10, 6]
    (table,) = tmp_path.rglob("metrics.csv")
    head, *rows = table.read_text().splitlines()
    losses = [row.split(",")[head.split(",").index("loss/train")] for row in rows]
    assert len([loss for loss in losses if loss]) == 3  # after steps 4, 6 and 10
    run(tmp_path, module=TwoOptimizers(), steps=9, checkpoint_every=5, trace=False)  # it is finished
