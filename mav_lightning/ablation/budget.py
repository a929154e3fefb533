"""Equal training budgets for all variants of a study, converted to optimizer steps."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat
from mav_lightning.config.loading import resolve_needs
from mav_lightning.runs.ids import ranks

__all__ = ["Budget", "steps_within", "training_flops"]


@dataclass(frozen=True)
class Budget:
    """Amount of training that each variant may spend on one stage; exactly one of the amounts is given.

    Attributes:
        stage: Name of a training stage of the recipe.
        steps: Optimizer steps.
        samples: Training samples seen.
        flops: Floating-point operations, counted as in `mav cost`.

    Raises:
        UserError: If not exactly one amount is given, or it is not above 0.
    """

    stage: str
    steps: PositiveFloat | None = None
    samples: PositiveFloat | None = None
    flops: PositiveFloat | None = None

    def __post_init__(self) -> None:
        amounts = [amount for amount in (self.steps, self.samples, self.flops) if amount is not None]
        if len(amounts) != 1:
            raise UserError(
                f"budget: give exactly one of steps, samples and flops, got steps={self.steps}, "
                f"samples={self.samples}, flops={self.flops}."
            )
        if not amounts[0] > 0:
            raise UserError(f"budget: the amount must be above 0, got {amounts[0]:g}.")


def steps_within(budget: Budget, config: Mapping[str, Any]) -> int:
    """Convert a budget to optimizer steps, rounded down, but at least one.

    Args:
        budget: Budget of the stage.
        config: Resolved config of the stage. FLOPs are counted on PyTorch's meta device; nothing is trained.

    Raises:
        UserError: If the cost of the stage cannot be counted.
    """
    if budget.steps is not None:
        return max(int(budget.steps), 1)
    batch = _batch(config)
    if batch is None:
        raise UserError(
            f"budget: stage `{budget.stage}` has no data.batch_size from which to count samples; give steps instead."
        )
    if budget.samples is not None:
        return max(int(budget.samples // batch), 1)
    assert budget.flops is not None
    return max(int(budget.flops // (_sample_flops(config) * batch)), 1)


def training_flops(config: Mapping[str, Any], needs: Mapping[str, Path] = MappingProxyType({})) -> int | None:
    """Return the floating-point operations of a whole training, counted as in `mav cost`.

    Args:
        config: Resolved config of a training stage.
        needs: Role → folder of the needed stage, for a denoiser that another stage has written.

    Returns:
        The operations; 0 if the stage trains no denoiser. None if they cannot be counted, because the folder of a
        needed network or a library is missing.
    """
    if "denoiser" not in (config.get("module") or {}):
        return 0
    batch, steps = _batch(config), (config.get("fit") or {}).get("steps")
    if batch is None or steps is None:
        return None
    try:
        module = resolve_needs({"denoiser": config["module"]["denoiser"]}, needs)
        return int(_sample_flops({**config, "module": {**config["module"], **module}}) * batch * steps)
    except UserError:
        return None


def _batch(config: Mapping[str, Any]) -> int | None:
    """Return the samples per optimizer step over all devices; None if the config has no batch size."""
    data = config.get("data") or {}
    batch: int | None = data.get("clips", data).get("batch_size")
    return batch and batch * ((config.get("trainer") or {}).get("accumulate_grad_batches") or 1) * ranks(config)


def _sample_flops(config: Mapping[str, Any]) -> int:
    """Return the operations per sample; computed once per network and data shape, which many stages share."""
    module, data = config.get("module") or {}, config.get("data") or {}
    key = {"name": config.get("name"), "size": config.get("size"), "frames": config.get("frames")}
    key["module"] = {name: module[name] for name in ("denoiser", "crop", "spatial_lr") if name in module}
    clips = data.get("clips", data)
    key["data"] = {name: clips[name] for name in ("frames",) if name in clips}  # data without frames are images
    return _counted(json.dumps(key, sort_keys=True))


@functools.cache
def _counted(config: str) -> int:
    from mav_lightning.flops import network_cost  # imports PyTorch, which a budget of steps does not need

    return network_cost(json.loads(config)).flops
