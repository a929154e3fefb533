"""Exchange with VBench: clips written as it reads them, and its results read as ours.

The layout is that of the package vbench 0.1.5: ``videos/PROMPT-NUMBER.mp4``, as the benchmark's own suite of prompts
requires (five clips per prompt, numbers 0 to 4), and ``prompts.json``, file → prompt, for clips of other prompts in its
mode ``custom_input``.

References:
    VBench: Comprehensive Benchmark Suite for Video Generative Models (Huang et al., 2024).
    https://arxiv.org/abs/2311.17982
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from evaluation import intervals
from evaluation.folders import open_clips, with_prompts
from evaluation.metrics.base import Score, to_plain
from mav_lightning.common.errors import UserError
from mav_lightning.common.escaping import file_name
from mav_lightning.common.json_files import write_json
from mav_lightning.common.manifest import display_only
from mav_lightning.common.schema import build, check, read_json
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video_encoding import write_mp4
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.media_reader import read_clip

__all__ = ["CUSTOM_DIMENSIONS", "export_vbench", "import_vbench"]

CUSTOM_DIMENSIONS = (
    "subject_consistency", "background_consistency", "motion_smoothness", "dynamic_degree", "aesthetic_quality",
    "imaging_quality", "temporal_flickering",
)  # fmt: skip
_PERCENT = ("imaging_quality",)  # clips are given in percent, their mean is not
_ROUNDING = 1e-4  # of a mean that VBench writes
_LONGEST = 240  # bytes of a file's stem


@dataclass(frozen=True)
class VBenchClip:
    """Entry of one clip in VBench's results.

    Attributes:
        video_path: Path of the clip.
        video_results: Score of the clip.
    """

    video_path: str
    video_results: float | bool


def export_vbench(
    clips: Path,
    out: Path,
    prompts: Mapping[str, str] | None = None,
    fps: float | None = None,
    track: Track = untracked,
) -> int:
    """Write clips in VBench's layout, as H.264.

    Args:
        clips: Folder of clips; see `evaluation.folders.open_clips`.
        out: Folder to write; must be new or empty.
        prompts: Id of a clip → its prompt. None if the folder records prompts.
        fps: Frames per second of clips that are stored as images or arrays. None if there are none.
        track: Wraps the clips, to show progress.

    Returns:
        The number of clips.

    Raises:
        UserError: If a clip has no prompt or cannot be read, clips are marked, or `out` cannot be written.
    """
    if reason := display_only(clips):
        raise UserError(f"{clips}: {reason}; generate them with --no-mark.", argument="generated")
    sources = open_clips(clips, fps=fps)
    sources = sources if prompts is None else with_prompts(sources, prompts)
    if bare := [source.id for source in sources if not source.prompt]:
        raise UserError(
            f"{clips}: {len(bare)} clips have no prompt, first `{bare[0]}`; give a table id<TAB>prompt.",
            argument="prompts",
        )
    numbers, named = Counter[str](), dict[str, str]()
    with new_folder(out) as folder:
        (folder / "videos").mkdir()
        for source in track(sources, len(sources), "clips"):
            prompt = source.prompt or ""
            stem = _stem(prompt)
            name = f"{stem}-{numbers[stem]}.mp4"
            numbers[stem] += 1
            with source.open() as media:
                frames, rate = read_clip(media, range(len(media.timeline))), source.fps or media.timeline.fps
            write_mp4(folder / "videos" / name, frames, rate)
            named[name] = prompt
        write_json(folder / "prompts.json", named)
    return len(sources)


def import_vbench(file: Path) -> dict[str, Any]:
    """Read the results that VBench wrote, ``NAME_eval_results.json``.

    Args:
        file: The file.

    Returns:
        Plain data: ``title``, ``origin``, ``metrics`` (dimension → score: VBench's own value, with an interval of the
        mean over prompts of its clips' scores) and ``clips`` (name of a clip → dimension → its score).

    Raises:
        UserError: If the file is missing or has another layout.
    """
    content: dict[str, Any] = read_json(file, dict[str, Any], "name the file NAME_eval_results.json that VBench wrote")
    metrics, clips, folders = {}, dict[str, dict[str, float]](), set[str]()
    for dimension, found in content.items():
        value, each = _dimension(found, f"{file}: {dimension}", 100.0 if dimension in _PERCENT else 1.0)
        names = [PurePosixPath(path.replace("\\", "/")) for path in each]
        folders |= {str(name.parent) for name in names}
        for name, score in zip(names, each.values(), strict=True):
            own = clips.setdefault(name.name, {})
            if dimension in own:
                raise UserError(f"{file}: {dimension}: has `{name.name}` of two folders; import each by itself.")
            own[dimension] = score
        scores = np.array(list(each.values()), dtype=np.float64)
        _, interval = intervals.grouped_mean(scores, [re.sub(r"-\d+$", "", name.stem) for name in names])
        kind = "Student's t of the mean over prompts of VBench's scores of clips, 95 %"
        metrics[dimension] = Score(value, interval, kind, len(each), "higher", "VBench score").to_dict()
    if not metrics:
        raise UserError(f"{file}: has no dimensions; name the file NAME_eval_results.json that VBench wrote.")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    origin = {"benchmark": "VBench, run by its own code", "file": file.name, "sha256": sha256}
    origin |= {"videos": ", ".join(sorted(folders)), "clips": str(len(clips))}
    title = f"VBench: {file.name.removesuffix('.json').removesuffix('_eval_results')}"
    plain: dict[str, Any] = to_plain({"title": title, "origin": origin, "metrics": metrics, "clips": clips})
    return plain


def _dimension(found: Any, where: str, scale: float) -> tuple[float, dict[str, float]]:
    """Return VBench's value of a dimension, and path → score of each clip."""
    pair: list[Any] = check(found, list[Any], where)
    if len(pair) != 2:
        raise UserError(f"{where}: must be a value and a list of clips, got {len(pair)} entries.")
    value = float(check(pair[0], float | bool, f"{where}.0"))
    rows = check(pair[1], list[dict[str, Any]], f"{where}.1")
    each = dict[str, float]()
    for number, row in enumerate(rows):
        known = {key: row[key] for key in ("video_path", "video_results") if key in row}
        clip = build(VBenchClip, known, f"{where}.1.{number}")
        score = float(clip.video_results) / scale
        if each.setdefault(clip.video_path, score) != score:
            raise UserError(f"{where}.1.{number}: a second score of {clip.video_path}; the file is damaged.")
    low, high = min(each.values(), default=value), max(each.values(), default=value)
    if not low - _ROUNDING <= value <= high + _ROUNDING:
        raise UserError(
            f"{where}: the score {value:g} is not between those of its clips, {low:g} to {high:g}; the file is "
            "damaged, or of a version of VBench with other units."
        )
    return value, each


def _stem(prompt: str) -> str:
    """Return the prompt, which VBench reads from the file's name, or a name like it if it cannot be one."""
    usable = "/" not in prompt and prompt.isprintable() and not prompt.startswith(".") and prompt == prompt.strip()
    return prompt if usable and len(prompt.encode()) <= _LONGEST else file_name(prompt)
