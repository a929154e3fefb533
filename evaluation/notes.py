"""Notes to results: what to know before the numbers are used."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.cuts import Cut
from evaluation.metrics.shapes_world import is_known
from evaluation.protocol import Protocol
from mav_lightning.common.counting import counted

__all__ = ["clip_notes", "shapes_notes"]


def clip_notes(generated: Sequence[Cut], real: Sequence[Cut], display: str | None) -> list[str]:
    """Return warnings about clips made for display, real clips cut from one video, and clips with the same bytes.

    Args:
        generated: The generated clips, with hashed sources.
        real: The real clips, with hashed sources.
        display: Why the generated clips are meant for display only. None if they are not.
    """
    notes = [] if display is None else [f"{display}, which the numbers include"]
    videos = len({cut.source.id for cut in real})
    if videos < len(real):
        clips = f"the {counted(len(real), 'real clip')} are cut from {counted(videos, 'video')}"
        notes.append(f"{clips}, so what they score is known less well than from as many videos.")
    return [*notes, *_copy_notes(generated, real)]


def _copy_notes(generated: Sequence[Cut], real: Sequence[Cut]) -> list[str]:
    names: dict[str, list[str]] = {}
    for cut in generated:
        names.setdefault(cut.source.content, []).append(cut.source.id)
    copied = [own for own in names.values() if len(own) > 1]
    of_real = {cut.source.content: cut.source.id for cut in real}
    shared = [(own[0], of_real[content]) for content, own in names.items() if content in of_real]
    notes = []
    if copied:
        notes.append(
            f"{counted(sum(map(len, copied)) - len(copied), 'generated clip')} with the bytes of another one, first "
            f"`{copied[0][1]}` of `{copied[0][0]}`; each counts, so intervals are too narrow."
        )
    if shared:
        notes.append(
            f"{counted(len(shared), 'generated clip')} with the bytes of a real one, first `{shared[0][0]}` of "
            f"`{shared[0][1]}`; such clips are copies, not samples."
        )
    return notes


def shapes_notes(protocol: Protocol, generated: Sequence[Cut], metrics: Mapping[str, Any]) -> list[str]:
    """Warn if numbers were measured with Shapes World's networks on clips of other content, on which they mean nothing.

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
