"""Equal budgets: what every variant may spend on one stage, turned into steps."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.runs.ids import ranks

__all__ = ["Budget", "steps_within", "training_flops"]


@dataclass(frozen=True)
class Budget:
    """What each variant's training of a stage may cost; exactly one of the amounts.

    Attributes:
        stage: Name of a training stage of the recipe.
        steps: Optimizer steps.
        samples: Training samples seen.
        flops: Floating-point operations, as `mav cost` counts them.
    """

    stage: str
    steps: float | None = None
    samples: float | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        amounts = [amount for amount in (self.steps, self.samples, self.flops) if amount is not None]
        if len(amounts) != 1 or isinstance(amounts[0], bool) or not isinstance(amounts[0], int | float):
            raise UserError(
                f"budget: give one of steps, samples and flops, a number; got steps={self.steps}, "
                f"samples={self.samples}, flops={self.flops}."
            )
        if amounts[0] <= 0:
            raise UserError(f"budget: must be above 0, got {amounts[0]:g}.")


def steps_within(budget: Budget, config: Mapping[str, Any]) -> int:
    """The steps that a budget pays for; never more than it, save that one step is always taken.

    Args:
        budget: Of the stage.
        config: The stage's, resolved. Nothing is trained: FLOPs are counted on PyTorch's meta device.

    Raises:
        UserError: A stage whose cost nothing tells.
    """
    if budget.steps is not None:
        return max(int(budget.steps), 1)
    batch = _batch(config)
    if batch is None:
        raise UserError(f"budget: stage `{budget.stage}` has no data.batch_size to count samples by; give steps.")
    if budget.samples is not None:
        return max(int(budget.samples // batch), 1)
    assert budget.flops is not None
    return max(int(budget.flops // (_sample_flops(config) * batch)), 1)


def training_flops(config: Mapping[str, Any]) -> int | None:
    """Floating-point operations of a whole training, as `mav cost` counts them; None of a stage that it cannot count.

    Args:
        config: Of a training stage, resolved.
    """
    batch, steps = _batch(config), (config.get("fit") or {}).get("steps")
    if batch is None or steps is None:
        return None
    try:
        return _sample_flops(config) * batch * steps
    except UserError:  # it trains no denoiser, or one whose library is not installed here
        return None


def _batch(config: Mapping[str, Any]) -> int | None:
    """Samples of an optimizer step on all devices; None where the stage says none."""
    data = config.get("data") or {}
    batch = data.get("clips", data).get("batch_size")
    return batch and batch * ((config.get("trainer") or {}).get("accumulate_grad_batches") or 1) * ranks(config)


def _sample_flops(config: Mapping[str, Any]) -> int:
    """Of one sample; worked out once for each network and shape of data, as siblings share them."""
    module, data = config.get("module") or {}, config.get("data") or {}
    key = {"name": config.get("name"), "size": config.get("size"), "frames": config.get("frames")}
    key["module"] = {name: module[name] for name in ("denoiser", "crop", "spatial_lr") if name in module}
    key["data"] = {"_target_": data.get("_target_", "")}
    return _counted(json.dumps(key, sort_keys=True))


@functools.cache
def _counted(config: str) -> int:
    from mav_lightning.flops import network_cost  # PyTorch, for which a study of steps need not wait

    return network_cost(json.loads(config)).flops
