"""``mav inspect``: what a clip says of its origin."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.printing import echo

__all__ = ["inspect"]


def inspect(
    file: Annotated[Path, typer.Argument(help="A clip: mkv, mp4, gif, png, or a folder of frames.")],
) -> None:
    """Read back what a generated file says of itself, whether it bears the visible mark, and who has signed it.

    Prints JSON. A manifest.json beside the file is compared with the hash in it. Signatures (C2PA) are read with the
    extra `provenance`.

    Example: mav inspect clips/00000.mp4
    """
    import hashlib
    import json

    from mav_lightning.cascade.clip_files import read_clip, read_facts
    from mav_lightning.cascade.mark import has_mark
    from mav_lightning.cascade.sign import read_signature
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.manifest import MANIFEST

    frames, facts = read_clip(file), read_facts(file)
    found: dict[str, object] = {**facts, "visible_mark": has_mark(frames), "frames": len(frames)}
    manifest = file.parent / MANIFEST
    if "manifest_sha256" in facts and manifest.is_file():
        found["manifest_matches"] = hashlib.sha256(manifest.read_bytes()).hexdigest() == facts["manifest_sha256"]
    try:
        found["signature"] = read_signature(file)
    except UserError as error:
        found["signature"] = f"not looked for: {error}"
    echo(json.dumps(found, indent=1))
