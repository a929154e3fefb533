"""Two runs of a training are compared tensor by tensor, and the first difference is named."""

import itertools
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from toy_training import ToyModule, run

from mav_lightning.training.tensor_trace import TensorTrace, TracedTensor, first_mismatch

CALLS = itertools.count()


class Unsteady(nn.Module):
    """Adds less than can be seen in a loss curve, another amount at every call from the second run on."""

    def forward(self, x: Tensor) -> Tensor:
        return x + max(next(CALLS) - 4, 0) * 1e-6


def traced(out: Path, module: Any) -> list[TracedTensor]:
    trace = TensorTrace()
    options = {"accumulate_grad_batches": 2, "limit_val_batches": 0}
    run(out, steps=3, module=module, extra=[trace], trainer=options)
    return trace.seen


def test_two_runs_of_the_toy_are_equal_to_the_bit(tmp_path: Path) -> None:
    one, other = traced(tmp_path / "one", ToyModule()), traced(tmp_path / "other", ToyModule())
    assert first_mismatch(one, other) is None
    # an epoch of five batches, two in a step
    kinds = {kind: sum(seen.kind == kind for seen in one) for kind in ("input", "output", "gradient", "weight")}
    weights = len(ToyModule().state_dict())
    trained = sum(weight.requires_grad for weight in ToyModule().parameters())
    assert (kinds["input"], kinds["gradient"], kinds["weight"]) == (5 * 2, 3 * trained, 3 * weights)


def test_the_first_layer_that_differs_is_named(tmp_path: Path) -> None:
    def module() -> ToyModule:
        toy = ToyModule()
        toy.net.append(Unsteady())
        return toy

    one, other = traced(tmp_path / "one", module()), traced(tmp_path / "other", module())
    mismatch = first_mismatch(one, other)
    assert mismatch is not None
    assert (mismatch.step, mismatch.kind, mismatch.name) == (0, "output", f"net.{len(ToyModule().net)}")


def test_a_run_that_computes_more_differs_where_the_other_ends() -> None:
    seen = [TracedTensor(step, "weight", "a", "0") for step in range(3)]
    assert first_mismatch(seen, seen[:2]) == seen[2] == first_mismatch(seen[:2], seen)
    assert first_mismatch(seen, list(seen)) is None
