"""Profile some steps of a training in a temporary folder."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mav_lightning.runs.execute import run_training

if TYPE_CHECKING:
    from mav_lightning.training.step_profile import StepProfile

__all__ = ["profile_training", "profile_table"]


def profile_training(config: Mapping[str, Any], needs: Mapping[str, Path] = MappingProxyType({})) -> "StepProfile":
    """Run a short training, keep nothing, and return where the time of its steps went.

    Args:
        config: Resolved config of a stage of kind train, with the number of steps in ``fit.steps``.
        needs: Role → folder of the needed stage.

    Raises:
        UserError: If the training cannot be run, see `run_training`.
    """
    from mav_lightning.training.step_profile import StepProfile

    profile = StepProfile()
    with tempfile.TemporaryDirectory() as folder:
        run_training(config, Path(folder, "run"), [profile], needs=needs)
    return profile


def profile_table(profile: "StepProfile") -> list[str]:
    """Return the lines of a Markdown table: milliseconds per step and share of each part, largest first.

    Args:
        profile: Profile of at least one step.
    """
    from mav_lightning.training.loop_clock import FORWARD

    step = sum(profile.parts.values())
    lines = ["| part of a step | ms | share |", "|---|--:|--:|"]

    def row(name: str, seconds: float) -> str:
        return f"| {name} | {1000 * seconds / profile.steps:.1f} | {seconds / step:.0%} |"

    for part, seconds in _largest_first(profile.parts):
        lines.append(row(part, seconds))
        if part == FORWARD:
            inside = _largest_first(profile.layers)
            rest = seconds - sum(profile.layers.values())
            lines += [row(f"· {name}", one) for name, one in [*inside, ("outside the network", rest)]]
    return [*lines, row("whole step", step)]


def _largest_first(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda one: one[1], reverse=True)
