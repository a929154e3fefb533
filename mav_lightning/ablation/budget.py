"""Equal budgets: what every variant may spend on one stage, turned into steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["Budget", "steps_within"]


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
    data = config.get("data") or {}
    batch = data.get("clips", data).get("batch_size")
    if batch is None:
        raise UserError(f"budget: stage `{budget.stage}` has no data.batch_size to count samples by; give steps.")
    if budget.samples is not None:
        return max(int(budget.samples // batch), 1)
    from mav_lightning.cost import network_cost

    assert budget.flops is not None
    return max(int(budget.flops // (network_cost(config).flops * batch)), 1)
