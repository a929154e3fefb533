"""MSR-VTT as published: 10,000 videos with some 20 captions each, and an official split.

References:
    MSR-VTT: A Large Video Description Dataset for Bridging Video and Language (Xu et al., CVPR 2016).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.annotations import Annotations, Row
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import located
from mav_lightning.common.tables import read_table
from mav_lightning.common.text_files import plain_text, read_text

__all__ = ["AnnotatedVideo", "draw_caption", "read_described", "read_msrvtt"]

_OFFICIAL = {"train": "train", "validate": "validate", "val": "validate", "test": "test"}  # as written → as published
_COLUMNS = ("video_id", "official_split", "caption", "captions")


@dataclass(frozen=True)
class AnnotatedVideo:
    """One video of the annotation.

    Attributes:
        split: ``train``, ``validate`` or ``test``.
        captions: Texts in the order of their numbers; empty if it has none.
        url: Address of the source video; empty if the annotation does not record it.
    """

    split: str
    captions: tuple[str, ...]
    url: str = ""


def read_described(path: Path) -> dict[str, AnnotatedVideo]:
    """Read the annotation.

    Args:
        path: The official JSON, or a table with the columns ``video_id official_split caption``; a video may have
            several rows.

    Returns:
        Video id → annotation, in the order of the file.

    Raises:
        UserError: The file is missing or in neither format, or a split is unknown.
    """
    text = read_text(path, "no such annotation; give MSR-VTT's json, or a table of captions")
    whole = text.lstrip().startswith(("{", "[")) and not _is_lines(text)
    described = _read_json(path, text) if whole else _read_rows(path)
    for video, found in described.items():
        if found.split not in _OFFICIAL:
            raise UserError(f"{path}: {video}: the split must be train, validate or test, got `{found.split}`.")
    return {video: replace(found, split=_OFFICIAL[found.split]) for video, found in described.items()}


def draw_caption(video: str, captions: Sequence[str], seed: int) -> str:
    """Sample one caption; the choice depends on the seed and the video's id only, not on other videos."""
    digest = hashlib.sha256(f"{seed} {video}".encode()).digest()
    return captions[int.from_bytes(digest) % len(captions)]


def read_msrvtt(
    path: Path, files: Sequence[str], *, caption_seed: int = 0, validate_as: str | None = None
) -> Annotations:
    """Read the official split for ``videoN.mp4`` at any depth; its test split becomes ``val``.

    Args:
        path: The annotation; see `read_described`.
        files: Names of the existing files.
        caption_seed: Seed of the sampling of one caption per video.
        validate_as: ``train`` or ``val``: where the official validation split goes. None leaves it out.

    Raises:
        UserError: The annotation cannot be read, `validate_as` is another value, or no video exists.
    """
    if validate_as not in (None, "train", "val"):
        raise UserError(f"must be train or val, got `{validate_as}`; omit it to skip them.", argument="validate_as")
    target = {"train": "train", "validate": validate_as, "test": "val"}
    described = read_described(path)
    rows: dict[str, Row] = {}
    splits: dict[str, str] = {}
    left_out: dict[str, list[str]] = defaultdict(list)
    there = set()
    for file in files:
        video = PurePosixPath(file).stem
        if video not in described:
            left_out["not in the annotation"].append(file)
        elif video in there:
            left_out["a second file of a video"].append(file)
        elif not (split := target[described[video].split]):
            left_out["of the official split `validate`"].append(file)
        else:
            there.add(video)
            rows[file], splits[file] = _row(video, described[video], caption_seed), split
    if not rows:
        raise UserError(f"{path}: none of its {len(described)} videos exists; pack the folder of the videoN.mp4 files.")
    absent = [video for video, found in described.items() if target[found.split] and video not in there]
    return Annotations(rows, splits, dict(left_out), absent)


def _row(video: str, found: AnnotatedVideo, seed: int) -> Row:
    caption = draw_caption(video, found.captions, seed) if found.captions else ""
    return Row(caption, group=found.url, captions=found.captions if len(found.captions) > 1 else ())


def _is_lines(text: str) -> bool:
    """Return whether the first line is an object about one caption, as in JSON Lines."""
    try:
        first = json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "videos" not in first


def _read_json(path: Path, text: str) -> dict[str, AnnotatedVideo]:
    try:
        known = json.loads(text)
        captions: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for sentence in known["sentences"]:
            with located(f"{path}: caption of {sentence['video_id']}"):
                captions[sentence["video_id"]].append((int(sentence["sen_id"]), _one_line(sentence["caption"])))
        described = dict[str, AnnotatedVideo]()
        for video in known["videos"]:
            name, split = video["video_id"], str(video["split"])
            texts = tuple(caption for _, caption in sorted(captions.pop(name, [])) if caption)
            if name in described:
                raise UserError(f"{path}: {name} is listed twice; get the official file.")
            described[name] = AnnotatedVideo(split, texts, str(video.get("url") or ""))
        if captions:
            raise UserError(
                f"{path}: has captions of {len(captions)} videos that `videos` does not list, such as "
                f"{next(iter(captions))!r}; get the official file."
            )
        return described
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path}: not MSR-VTT's annotation ({type(error).__name__}: {error}); it must hold `videos` with "
            "`video_id` and `split`, and `sentences` with `video_id`, `caption` and `sen_id`."
        ) from error


def _read_rows(path: Path) -> dict[str, AnnotatedVideo]:
    splits: dict[str, str] = {}
    captions: dict[str, list[str]] = defaultdict(list)
    for number, cells in read_table(path, "annotation", _COLUMNS, needed=3):
        video, split = cells["video_id"], cells["official_split"]
        if splits.setdefault(video, split) != split:
            raise UserError(f"{path}: line {number} puts {video} in `{split}`, another in `{splits[video]}`.")
        texts = map(_one_line, cells.several.get("caption", [cells["caption"]]))
        captions[video] += [text for text in texts if text]
    return {video: AnnotatedVideo(split, tuple(captions[video])) for video, split in splits.items()}


def _one_line(caption: Any) -> str:
    """Return the caption without tabs and line breaks, which a table of prompts could not hold."""
    return " ".join((plain_text(caption) or "").split())
