"""Check of a study's metrics against its protocol and its clips, before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.errors import Refusals, UserError, nearest

__all__ = ["check_metrics"]


def check_metrics(
    where: str, metrics: Sequence[StudyMetric], score: Mapping[str, Any], facts: frozenset[str] | None = None
) -> None:
    """Check that the score stage can compute a study's metrics on its clips, and that `better` is right for each.

    Args:
        where: First words of messages.
        metrics: Metrics of the study.
        score: Config of the score stage. Without a protocol its numbers are unknown, and nothing is checked.
        facts: Known attributes of every clip; see `PlannedClips.facts`. None if unknown.

    Raises:
        UserError: If the protocol is invalid, or a metric has an unknown name, another direction, or can have no value
            on these clips.
    """
    if "metrics" not in (score.get("protocol") or {}):
        return
    from evaluation.protocol import protocol_of_stage  # here, since it imports torch

    protocol, refusals = protocol_of_stage(score["protocol"]), Refusals()
    known = protocol.numbers()
    lacking = {} if facts is None else protocol.valueless(facts)
    for metric in metrics:
        if metric.name not in known:
            refusals.add(
                UserError(
                    f"{where}: metric `{metric.name}`: protocol {protocol.name} gives no such number; it gives "
                    f"{', '.join(known)}.",
                    suggestion=nearest(metric.name, known),
                )
            )
        elif metric.name in lacking:
            needs, able = " and ".join(lacking[metric.name]), [name for name in known if name not in lacking]
            refusals.add(
                UserError(
                    f"{where}: metric `{metric.name}` has no value on these clips: it needs the ground-truth {needs} "
                    f"of each, which is not known; metrics of protocol {protocol.name} that have one are "
                    f"{', '.join(able) or 'none'}."
                )
            )
        elif known[metric.name].better not in (metric.better, None):
            better = known[metric.name].better
            refusals.add(
                UserError(
                    f"{where}: metric `{metric.name}`: `better` is {metric.better}, but of this number {better} is "
                    f"better; write {{name: {metric.name}, better: {better}}}."
                )
            )
    refusals.raise_any("metrics of the study cannot be reported")
