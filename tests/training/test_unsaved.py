"""State that no checkpoint holds is named in a warning; what checkpoints hold, and what stays the same, is not."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_training import FEATURES, ToyBatch, ToyModule, run


class Changes(ToyModule):
    """Changes itself in every training step."""

    def __init__(self, begin: Callable[[Any], None], step: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        begin(self)
        self._change = step

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        self._change(self, batch.x)
        return super().training_step(batch, batch_idx)


class Saves(Changes):
    """Saves what it changes."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["own"] = self.mean


def averaged(module: Any, x: Tensor) -> None:
    module.mean = 0.9 * module.mean + 0.1 * x.mean(0)


def averaged_in_place(module: Any, x: Tensor) -> None:
    module.mean.lerp_(x.mean(0), 0.1)


def counted(module: Any, x: Tensor) -> None:
    module.count += 1


def listed(module: Any, x: Tensor) -> None:
    module.losses = [*module.losses, float(x.mean())]


def drawn(module: Any, x: Tensor) -> None:
    torch.randn(1, generator=module.draws)


def drawn_by_numpy(module: Any, x: Tensor) -> None:
    module.draws.normal()


def drawn_by_python(module: Any, x: Tensor) -> None:
    module.draws.random()


def cached(module: Any, x: Tensor) -> None:
    module.cache = torch.arange(float(x.shape[1]))


def zeros(persistent: bool) -> Callable[[Any], None]:
    return lambda module: module.register_buffer("mean", torch.zeros(FEATURES), persistent=persistent)


def attribute(name: str, make: Callable[[], Any]) -> Callable[[Any], None]:
    return lambda module: setattr(module, name, make())


UNSAVED: dict[str, tuple[Callable[[Any], None], Callable[[Any, Tensor], Any], str]] = {
    "a buffer that is not persistent": (zeros(False), averaged_in_place, "mean"),
    "a buffer that is replaced": (zeros(False), averaged, "mean"),
    "a tensor": (attribute("mean", lambda: torch.zeros(FEATURES)), averaged, "mean"),
    "a tensor in place": (attribute("mean", lambda: torch.zeros(FEATURES)), averaged_in_place, "mean"),
    "a number": (attribute("count", lambda: 0), counted, "count"),
    "a list of numbers": (attribute("losses", list), listed, "losses"),
    "a generator": (attribute("draws", lambda: torch.Generator().manual_seed(0)), drawn, "draws"),
    "a generator of NumPy": (attribute("draws", lambda: np.random.default_rng(0)), drawn_by_numpy, "draws"),
    "an old generator of NumPy": (attribute("draws", lambda: np.random.RandomState(0)), drawn_by_numpy, "draws"),
    "a generator of Python": (attribute("draws", lambda: random.Random(0)), drawn_by_python, "draws"),
}


@pytest.mark.parametrize("name", UNSAVED)
def test_state_that_changes_and_is_not_saved_is_named(name: str, tmp_path: Path) -> None:
    begin, step, attribute = UNSAVED[name]
    with pytest.warns(UserWarning, match=f"Changes: `{attribute}` changed in training, and no checkpoint holds it"):
        run(tmp_path, module=Changes(begin, step), steps=4, trace=False)


SAVED: dict[str, Callable[[], ToyModule]] = {
    "nothing of its own": ToyModule,
    "a persistent buffer": lambda: Changes(zeros(True), averaged_in_place),
    "a cache": lambda: Changes(attribute("cache", lambda: None), cached),
    "state that it saves": lambda: Saves(zeros(False), averaged),
}


@pytest.mark.parametrize("name", SAVED)
def test_other_state_is_not(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run(tmp_path, module=SAVED[name](), steps=4, trace=False)

    assert not [one for one in found if "changed in training" in str(one.message)]
