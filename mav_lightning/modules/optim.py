"""Optimizers and schedules as configs give them: callables that the module finishes, as it knows its parameters."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["MakeOptimizer", "Schedule", "WarmupCosine", "WarmupStableDecay", "optimization"]

MakeOptimizer = Callable[[Iterable[dict[str, Any]]], Optimizer]
Schedule = Callable[[int], float]


class WarmupCosine:
    """Multiplies the learning rate by a linear warm-up, then by half a cosine down to `final`.

    Args:
        steps: Step at which the cosine ends; later steps stay at `final`.
        warmup: Steps of the warm-up.
        final: Last factor.
    """

    def __init__(self, steps: int, warmup: int = 100, final: float = 0.02) -> None:
        self.steps, self.warmup, self.final = steps, warmup, final

    def __call__(self, step: int) -> float:
        """The factor at a step counted from 0."""
        progress = min(1.0, step / self.steps)
        cosine = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
        return min(1.0, (step + 1) / self.warmup) * cosine


def optimization(
    module: nn.Module,
    make: MakeOptimizer,
    schedule: Schedule,
    lr_factor: Callable[[str], float] = lambda name: 1.0,
) -> OptimizerLRSchedulerConfig:
    """What Lightning's ``configure_optimizers`` returns for one optimizer scheduled by step.

    Args:
        module: Whose trainable parameters are optimized.
        make: Makes the optimizer of parameter groups.
        schedule: Factor of the learning rate by step.
        lr_factor: Factor of the learning rate by the parameter's name.
    """
    alike: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            alike[lr_factor(name)].append(parameter)
    optimizer = make([{"params": parameters} for parameters in alike.values()])
    for group, factor in zip(optimizer.param_groups, alike, strict=True):
        group["lr"] *= factor
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, schedule), "interval": "step"}}


class WarmupStableDecay:
    """Multiplies the learning rate by a linear warm-up, then by 1, then by a straight line down to `final`.

    It learns for longer at the full rate than a cosine of as many steps, and cools down as far.

    References:
        MiniCPM (Hu et al., 2024), §4.2. https://arxiv.org/abs/2404.06395

    Args:
        steps: Step at which the line ends; later steps stay at `final`.
        warmup: Steps of the warm-up.
        decay: Share of the steps on the line, in (0, 1].
        final: Last factor.
    """

    def __init__(self, steps: int, warmup: int = 100, decay: float = 0.4, final: float = 0.02) -> None:
        self.steps, self.warmup, self.decay, self.final = steps, warmup, decay, final

    def __call__(self, step: int) -> float:
        """The factor at a step counted from 0."""
        left = max(0.0, 1 - step / self.steps) / self.decay
        return min(1.0, (step + 1) / self.warmup) * (self.final + (1 - self.final) * min(1.0, left))
