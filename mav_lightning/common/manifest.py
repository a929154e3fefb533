"""Folders of generated clips: lossless files and a ``manifest.json`` that records how each was made."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from annotated_types import Ge, Le

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, build, check, located, read_json
from mav_lightning.common.text_files import composed, plain_text
from mav_lightning.common.whole_file import whole_file

__all__ = ["MANIFEST", "ClipRecord", "display_only", "manifest_sha256", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"
_NO_NAME = re.compile(r"[\x00\ud800-\udc7f\udd00-\udfff]")  # the other halves stand for bytes that are not UTF-8


@dataclass(frozen=True)
class ClipRecord:
    """One clip of a folder.

    Attributes:
        id: Unique in the folder; the key under which features and results are kept.
        file: Path relative to the folder.
        fps: Frame rate the clip was generated for, in frames per second, 1e-6 to 1e6.
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
    fps: Annotated[float, Ge(1e-6), Le(1_000_000)]
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
        made: Settings with which the clips were generated, as plain data. None if unknown.
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
        UserError: The file is missing or not a manifest, an id or a file occurs twice, or a file is not in the folder.
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
        _checked(
            build(ClipRecord, {key: value for key, value in row.items() if key in known}, f"{path}: clips.{number}"),
            f"{path}: clips.{number}",
        )
        for number, row in enumerate(rows)
    ]
    _refuse_duplicates(folder, (clip.id for clip in clips))
    _refuse_duplicates(folder, (clip.file for clip in clips), "file", "list every clip once")
    return clips


def display_only(folder: Path) -> str | None:
    """Return why the clips of a folder are for display only and must not be scored; None if they may be scored.

    Args:
        folder: Folder of clips. Clips without a manifest may be scored.
    """
    path = folder / MANIFEST
    content: dict[str, Any] = read_json(path, dict[str, Any]) if path.is_file() else {}
    made = content.get("made")
    if not isinstance(made, dict):
        return None
    if isinstance(made.get("scale"), int) and made["scale"] > 1:
        return f"the clips were upsampled {made['scale']} times for the eye"
    return "the clips have the visible mark" if made.get("mark") is True else None


def _checked(clip: ClipRecord, path: str) -> ClipRecord:
    """Return a clip of a manifest, which may come from anybody, with its texts as all other text is read."""
    file = os.path.normpath(clip.file)
    inside = PurePosixPath(file)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise UserError(f"{path}.file: must be in the folder of the manifest, got `{clip.file}`.")
    for name, value in (("id", clip.id), ("file", clip.file), ("source", clip.source)):
        if value is not None and (_NO_NAME.search(value) or not value.strip()):
            raise UserError(f"{path}.{name}: must be a name of UTF-8, got `{value}`.")
    attributes = dict[str, str]()
    for key, value in clip.attributes.items():
        with located(f"{path}.attributes"):
            attributes[plain_text(key) or ""] = plain_text(value) or ""
    with located(f"{path}.prompt"):
        return replace(clip, file=file, prompt=plain_text(clip.prompt), attributes=attributes)


def _refuse_duplicates(
    folder: Path, names: Iterable[str], what: str = "clip id", fix: str = "give every clip its own id"
) -> None:
    """Raise a `UserError` for a name that appears twice, also where only its Unicode form differs."""
    seen: set[str] = set()
    for name in names:
        if composed(name) in seen:
            raise UserError(f"{folder}: {what} `{name}` appears twice in the manifest; {fix}.")
        seen.add(composed(name))


def _text(clips: Sequence[ClipRecord], made: Mapping[str, Any] | None) -> str:
    return json.dumps({"version": 1, "made": dict(made or {}), "clips": [_row(clip) for clip in clips]}, indent=1)


def _row(clip: ClipRecord) -> dict[str, Any]:
    row = asdict(clip)
    if not clip.given:  # clips of text keep the manifest, and thereby the hash, that they had before `given`
        del row["given"]
    return row
