"""Clips shown in a report, each embedded in the page as a PNG strip of its frames."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mav_lightning.ablation.results import StudyResults
from mav_lightning.common.manifest import ClipRecord, read_manifest
from mav_lightning.media.media_reader import read_frames

__all__ = ["MOST_CLIPS", "gather_clips"]

MOST_CLIPS = 24  # per trial
_MOST_PIXELS = 192  # per side; larger clips are downsampled


def gather_clips(results: StudyResults) -> dict[str, Any]:
    """Return frame strips of clips that every trial has sampled, evenly spaced over the list of clips.

    Args:
        results: Results of the study.

    Returns:
        ``shown`` ([{"id", "prompt", "fps"}]), ``of`` (number of clips to choose from), ``strips`` (variant → seed →
        clip id → {"src", "frames", "width", "height", "notes"}) and ``without``, the variants whose clips have no
        prompt, for example a floor.
    """
    found = [(one, {clip.id: clip for clip in read_manifest(one.clips)}) for one in results.trials if one.clips]
    drawn = [(one, clips) for one, clips in found if all(clip.prompt for clip in clips.values())]
    common = [
        clip
        for clip in (drawn[0][1].values() if drawn else [])
        if all(clip.id in clips and _same(clip, clips[clip.id]) for _, clips in drawn)
    ]
    shown = [common[i] for i in _spread(len(common))]
    strips: dict[str, dict[str, dict[str, Any]]] = {}
    for result, clips in drawn:
        assert result.clips, "only trials with clips are in `drawn`"
        verdicts = result.scores.get("clips", {})
        strips.setdefault(result.trial.variant, {})[str(result.trial.seed)] = {
            clip.id: _strip(result.clips, clips[clip.id]) | {"notes": _notes(verdicts.get(clip.id, {}))}
            for clip in shown
        }
    return {
        "shown": [{"id": clip.id, "prompt": clip.prompt, "fps": clip.fps} for clip in shown],
        "of": len(common),
        "strips": strips,
        "without": list(dict.fromkeys(one.trial.variant for one, _ in found if one.trial.variant not in strips)),
    }


def _same(one: ClipRecord, other: ClipRecord) -> bool:
    return (one.prompt, one.fps) == (other.prompt, other.fps)


def _spread(count: int) -> list[int]:
    """Return at most `MOST_CLIPS` evenly spaced indices below `count`."""
    return sorted(set(np.linspace(0, count - 1, MOST_CLIPS).round().astype(int).tolist())) if count else []


def _strip(folder: Path, clip: ClipRecord) -> dict[str, Any]:
    frames = _downsample(read_frames(folder / clip.file))
    count, height, width, _ = frames.shape
    buffer = io.BytesIO()
    Image.fromarray(frames.transpose(1, 0, 2, 3).reshape(height, count * width, 3)).save(buffer, "PNG", optimize=True)
    source = base64.b64encode(buffer.getvalue()).decode()
    return {"src": f"data:image/png;base64,{source}", "frames": count, "width": width, "height": height}


def _downsample(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    scale = _MOST_PIXELS / max(height, width)
    if scale >= 1:
        return frames
    size = (round(width * scale), round(height * scale))
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames])


def _notes(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """Return per-clip results as ``{"text", "good"}``; ``good`` is None if the text is just a number."""
    notes: list[dict[str, Any]] = []
    for key in ("law", "appearance"):
        if isinstance(verdict.get(key), bool):
            notes.append({"text": key, "good": verdict[key]})
    if isinstance(verdict.get("speed_ratio"), float):
        notes.append({"text": f"speed × {verdict['speed_ratio']:.2f}", "good": None})
    return notes
