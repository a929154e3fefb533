"""Check of a study's metrics against its protocol, before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.errors import UserError, nearest

__all__ = ["check_metrics"]


def check_metrics(where: str, metrics: Sequence[StudyMetric], score: Mapping[str, Any]) -> None:
    """Check that the protocol of the score stage gives the numbers a study asks for, in the direction it states.

    Args:
        where: First words of messages.
        metrics: Metrics of the study.
        score: Config of the score stage. Without a protocol its numbers are unknown, and nothing is checked.

    Raises:
        UserError: If the protocol is invalid, or a metric has an unknown name or another direction.
    """
    if "metrics" not in (score.get("protocol") or {}):
        return
    from evaluation.protocol import protocol_of_stage  # here, since it imports torch

    protocol = protocol_of_stage(score["protocol"])
    known = protocol.numbers()
    for metric in metrics:
        if metric.name not in known:
            raise UserError(
                f"{where}: metric `{metric.name}`: protocol {protocol.name} gives no such number; it gives "
                f"{', '.join(known)}.",
                suggestion=nearest(metric.name, known),
            )
        better = known[metric.name].better
        if better not in (metric.better, None):
            raise UserError(
                f"{where}: metric `{metric.name}`: `better` is {metric.better}, but of this number {better} is better; "
                f"write {{name: {metric.name}, better: {better}}}."
            )
