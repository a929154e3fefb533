"""Folders of generated clips: lossless files and a ``manifest.json`` that records how each was made."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveFloat, build, check, read_json
from mav_lightning.common.whole_file import whole_file

__all__ = ["MANIFEST", "ClipRecord", "display_only", "manifest_sha256", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ClipRecord:
    """One clip of a folder.

    Attributes:
        id: Unique in the folder; the key under which features and results are kept.
        file: Path relative to the folder.
        fps: Frame rate the clip was generated for, in frames per second.
        prompt: Text prompt. None for a clip made without one.
        attributes: Known content (for Shapes World: colour, shape, ground).
        seed: Seed of the clip's noise generator. None for clips that were not sampled.
        checkpoints: Stage name → content id of the network used.
        source: File the clip was made from. None for a clip made from text alone.
        given: Numbers of the file's frames that were given rather than sampled, from 0. Empty for none; not written
            then.
    """

    id: str
    file: str
    fps: PositiveFloat
    prompt: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    checkpoints: dict[str, str] = field(default_factory=dict)
    source: str | None = None
    given: list[NonNegativeInt] = field(default_factory=list)


def write_manifest(folder: Path, clips: Sequence[ClipRecord], made: Mapping[str, Any] | None = None) -> None:
    """Write ``folder/manifest.json`` atomically.

    Args:
        folder: Folder of the clips.
        clips: One record per clip.
        made: How they were made, as plain data. None if unknown.
    """
    _refuse_duplicates(folder, (clip.id for clip in clips))
    with whole_file(folder / MANIFEST) as partial:
        partial.write_text(_text(clips, made))


def manifest_sha256(clips: Sequence[ClipRecord], made: Mapping[str, Any] | None = None) -> str:
    """Compute the sha256 of the file that `write_manifest` writes."""
    return hashlib.sha256(_text(clips, made).encode()).hexdigest()


def read_manifest(folder: Path) -> list[ClipRecord]:
    """Read ``folder/manifest.json``.

    Raises:
        UserError: The file is missing or not a manifest, or an id occurs twice.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; generate clips with `mav generate … --out {folder}` first.")
    content = read_json(path, dict[str, Any])
    if "clips" not in content:
        raise UserError(f"{path}: is not a clip manifest, it has no `clips`; write it again with `mav generate`.")
    known = {entry.name for entry in fields(ClipRecord)}
    rows: list[dict[str, Any]] = check(content["clips"], list[dict[str, Any]], f"{path}: clips")
    clips = [
        build(ClipRecord, {key: value for key, value in row.items() if key in known}, f"{path}: clips.{number}")
        for number, row in enumerate(rows)
    ]
    _refuse_duplicates(folder, (clip.id for clip in clips))
    return clips


def display_only(folder: Path) -> str | None:
    """Return why the clips of a folder are meant for the eye and cannot be scored as they are; None if they can.

    Args:
        folder: Folder of clips; without a manifest, nothing is known against them.
    """
    path = folder / MANIFEST
    content: dict[str, Any] = read_json(path, dict[str, Any]) if path.is_file() else {}
    made = content.get("made")
    if not isinstance(made, dict):
        return None
    if isinstance(made.get("scale"), int) and made["scale"] > 1:
        return f"the clips were upsampled {made['scale']} times for the eye"
    return "the clips have the visible mark" if made.get("mark") is True else None


def _refuse_duplicates(folder: Path, ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise UserError(f"{folder}: clip id `{name}` appears twice in the manifest; give every clip its own id.")
        seen.add(name)


def _text(clips: Sequence[ClipRecord], made: Mapping[str, Any] | None) -> str:
    return json.dumps({"version": 1, "made": dict(made or {}), "clips": [_row(clip) for clip in clips]}, indent=1)


def _row(clip: ClipRecord) -> dict[str, Any]:
    row = asdict(clip)
    if not clip.given:  # clips of text keep the manifest, and thereby the hash, that they had before `given`
        del row["given"]
    return row
