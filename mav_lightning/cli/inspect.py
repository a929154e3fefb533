"""``mav inspect``: what a clip claims about its origin, and what can be verified."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import Allow, existing
from mav_lightning.cli.printing import echo
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError

__all__ = ["inspect"]


def inspect(
    file: Annotated[
        Path,
        typer.Argument(callback=existing("file or folder"), help="Clip: mkv, mp4, gif, png, or a folder of frames."),
    ],
    allow: Allow = None,
) -> None:
    """Print what a file claims about its origin, and what was verified, as JSON.

    `claims` is the file's own metadata, which anybody can write. `verified` is measured here: the visible mark, the
    number of frames, whether the manifest next to the file has the claimed hash (null without a manifest), and the
    signature (C2PA; needs the extra `provenance`), which is none if the file is not signed.

    Example: mav inspect clips/00000.mp4
    """
    import json

    from mav_lightning.cascade.clip_files import read_clip, read_facts
    from mav_lightning.cascade.mark import has_mark
    from mav_lightning.common.hashing import file_sha256
    from mav_lightning.common.manifest import MANIFEST, read_manifest

    if (file / MANIFEST).is_file():
        clips = [clip.file for clip in read_manifest(file)]
        example = file / clips[0] if clips else "one of its clips"
        raise UserError(f"{file}: a folder of {counted(len(clips), 'clip')}; name one clip, for example {example}.")
    manifest = file.parent / MANIFEST
    try:
        rates = {clip.file: clip.fps for clip in read_manifest(file.parent)} if manifest.is_file() else {}
    except UserError:  # it proves nothing; only the rate of an animation is taken from it
        rates = {}
    frames, claims = read_clip(file, rates.get(file.name)), read_facts(file)
    verified: dict[str, object] = {"frames": len(frames), "visible_mark": has_mark(frames), "manifest_matches": None}
    if claims and manifest.is_file():
        verified["manifest_matches"] = file_sha256(manifest) == claims["manifest_sha256"]
    verified["signature"] = _signature(file)
    echo(json.dumps({"claims": claims, "verified": verified}, indent=1))


def _signature(file: Path) -> object:
    from mav_lightning.cascade.sign import can_be_signed, read_signature

    if not can_be_signed(file):
        return f"not possible in {file.suffix.lower().removeprefix('.') or 'such files'}"
    try:
        return read_signature(file) or "none"
    except UserError as error:
        return f"not verified: {error}"
