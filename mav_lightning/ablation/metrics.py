"""The numbers that an evaluation can give, known before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["GIVEN", "check_metrics", "numbers"]

_MOTION = {
    "displacement": None,
    "moving-displacement": None,
    "warped-flicker": "lower",
    "compared-share": "higher",
    "temporal-consistency": "higher",
    "loop-closure": None,
    "freeze-share": "lower",
}
GIVEN: dict[str, dict[str, str | None]] = {
    "frechet": {"{name}": "lower", "{name}-inf": "lower"},
    "kernel": {"{name}": "lower"},
    "clipsim": {"{name}": "higher"},
    "inception-score": {"{name}": "higher"},
    "shapes-world": {
        "appearance": "higher",
        "appearance-held-out": "higher",
        "law": "higher",
        "law-seen": "higher",
        "law-held-out": "higher",
        "law-forced-choice": "higher",
        "speed-ratio": "one",
        "speed-ratio@{fps}": "one",
        "arc-slope": "one",
        "flicker": "lower",
    },
    "motion": _MOTION | {f"{name}@{{fps}}": better for name, better in _MOTION.items()} | {"displacement-slope": "one"},
}
"""Kind of a protocol's metric → its numbers → which way is better, None where that is a matter of taste.

`{name}` is what the protocol calls the metric, and `{fps}` each of its rates. `evaluation` gives these numbers, and is
not imported for their names: a test holds the two together.
"""


def numbers(protocol: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Name → direction of every number that clips can get under a protocol; None where a metric's kind is not known.

    Args:
        protocol: Content of its file.
    """
    found: dict[str, str | None] = {}
    for name, metric in protocol["metrics"].items():
        if metric["kind"] not in GIVEN:
            return None
        for pattern, better in GIVEN[metric["kind"]].items():
            rates = (protocol.get("fps") or []) if "{fps}" in pattern else [0]
            found |= {pattern.format(name=name, fps=f"{rate:g}"): better for rate in rates}
    return found


def check_metrics(where: str, metrics: Sequence[StudyMetric], score: Mapping[str, Any]) -> None:
    """Refuses what the score stage's protocol will not give, or gives the other way round.

    Args:
        where: Begins messages.
        metrics: That the study asks for.
        score: The stage's config; without a protocol nothing is known of its numbers.

    Raises:
        UserError: An unknown name, or a direction other than the metric's own.
    """
    protocol = score.get("protocol") or {}
    known = numbers(protocol) if "metrics" in protocol else None
    if known is None:
        return
    for metric in metrics:
        if metric.name not in known:
            raise UserError(
                f"{where}: metric `{metric.name}`: protocol {protocol['name']} gives no such number"
                f"{did_you_mean(metric.name, known)}; it gives {', '.join(known)}."
            )
        if known[metric.name] not in (metric.better, None):
            raise UserError(
                f"{where}: metric `{metric.name}`: `better` is {metric.better}, but of this number "
                f"{known[metric.name]} is better; write {{name: {metric.name}, better: {known[metric.name]}}}."
            )
