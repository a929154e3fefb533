"""Notes to results: what to know before the numbers are used."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.cuts import Cut
from evaluation.metrics.shapes_world import is_known
from evaluation.protocol import Protocol

__all__ = ["shapes_notes"]


def shapes_notes(protocol: Protocol, generated: Sequence[Cut], metrics: Mapping[str, Any]) -> list[str]:
    """Return a note that names numbers measured with networks of Shapes World on other clips.

    Args:
        protocol: The protocol.
        generated: The generated clips.
        metrics: Name of each number → its score, with ``value``; None or NaN for none.

    Returns:
        One note, or none if all clips are of Shapes World or no such network was used.
    """
    if all(is_known(cut) for cut in generated):
        return []
    of_shapes = [
        number
        for name, metric in protocol.metrics.items()
        if any(protocol.extractors[one].metric_prefix == "shapes-" for one in metric.extractors().values())
        for number in metric.declared(name, protocol.fps or ())
        if (score := metrics.get(number)) and score["value"] is not None and score["value"] == score["value"]
    ]
    if not of_shapes:
        return []
    return [
        f"{', '.join(of_shapes)}: measured with networks trained on Shapes World, and these clips are not "
        "known to be of it. Such a number shows that the evaluation runs; it ranks nothing."
    ]
