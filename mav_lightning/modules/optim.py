"""Optimizers and learning-rate schedules as modules take them: callables that are completed with the parameters."""

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mav_lightning.common.arguments import checked
from mav_lightning.common.schema import Fraction, NonNegativeInt, PositiveInt

__all__ = [
    "DEFAULT_OPTIMIZER",
    "DEFAULT_SCHEDULE",
    "MakeOptimizer",
    "Schedule",
    "Warmup",
    "WarmupCosine",
    "WarmupStableDecay",
    "optimization",
]

MakeOptimizer = Callable[[Iterable[dict[str, Any]]], Optimizer]
Schedule = Callable[[int], float]


class Warmup:
    """Learning-rate factor: linear warm-up, then 1.

    Args:
        steps: Steps of the warm-up. 0 for none.
    """

    @checked
    def __init__(self, steps: NonNegativeInt = 100) -> None:
        self.steps = steps

    def __call__(self, step: int) -> float:
        """Return the factor at a step counted from 0."""
        return _warm(step, self.steps)


class WarmupCosine:
    """Learning-rate factor: linear warm-up times half a cosine from 1 down to `final`.

    Args:
        steps: Step at which the cosine ends; later steps use `final`.
        warmup: Steps of the warm-up. 0 for none.
        final: Last factor.
    """

    @checked
    def __init__(self, steps: PositiveInt, warmup: NonNegativeInt = 100, final: Fraction = 0.02) -> None:
        self.steps, self.final, self.warmup = steps, final, warmup  # plain: checkpoints hold them

    @property
    def horizon(self) -> int:
        """Step at which the schedule ends; a run that ends there cannot be extended."""
        return self.steps

    def __call__(self, step: int) -> float:
        """Return the factor at a step counted from 0."""
        progress = min(1.0, step / self.steps)
        cosine = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
        return _warm(step, self.warmup) * cosine


class WarmupStableDecay:
    """Learning-rate factor: linear warm-up, then 1, then a linear decay to `final`.

    It trains longer at the full rate than a cosine over as many steps, and ends as low.

    References:
        MiniCPM (Hu et al., 2024), §4.2. https://arxiv.org/abs/2404.06395

    Args:
        steps: Step at which the decay ends; later steps use `final`.
        warmup: Steps of the warm-up. 0 for none.
        decay: Fraction of the steps spent on the decay, above 0.
        final: Last factor.
    """

    @checked
    def __init__(
        self,
        steps: PositiveInt,
        warmup: NonNegativeInt = 100,
        decay: Annotated[float, Gt(0), Le(1)] = 0.4,
        final: Fraction = 0.02,
    ) -> None:
        self.steps, self.decay, self.final, self.warmup = steps, decay, final, warmup

    @property
    def horizon(self) -> int:
        """Step at which the schedule ends; a run that ends there cannot be extended."""
        return self.steps

    def __call__(self, step: int) -> float:
        """Return the factor at a step counted from 0."""
        left = max(0.0, 1 - step / self.steps) / self.decay
        return _warm(step, self.warmup) * (self.final + (1 - self.final) * min(1.0, left))


def _warm(step: int, steps: int) -> float:
    """Return the factor of a linear warm-up of so many steps."""
    return min(1.0, (step + 1) / max(steps, 1))


DEFAULT_OPTIMIZER: MakeOptimizer = functools.partial(torch.optim.AdamW, lr=3e-4, betas=(0.9, 0.99))
DEFAULT_SCHEDULE: Schedule = Warmup(100)


def optimization(
    module: nn.Module,
    make: MakeOptimizer,
    schedule: Schedule,
    lr_factor: Callable[[str], float] = lambda name: 1.0,
) -> OptimizerLRSchedulerConfig:
    """Build what Lightning's ``configure_optimizers`` returns for one optimizer scheduled by step.

    Args:
        module: Module whose trainable parameters are optimized.
        make: Builds the optimizer from parameter groups.
        schedule: Learning-rate factor by step.
        lr_factor: Learning-rate factor by the name of a parameter.
    """
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups[lr_factor(name)].append(parameter)
    optimizer = make([{"params": parameters} for parameters in groups.values()])
    for group, factor in zip(optimizer.param_groups, groups, strict=True):
        group["lr"] *= factor
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, schedule), "interval": "step"}}
