"""Shards that a user brings to a study."""

from pathlib import Path

from datamodules.index import folder_sha256
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import Track, untracked

__all__ = ["link_shards"]


def link_shards(root: str | Path, root_sha256: str, out: Path, track: Track = untracked) -> None:
    """Makes `out` a link to a folder of indexed shards.

    Args:
        root: The folder, with ``images`` and ``clips`` as `mav data pack` writes them. It must stay where it is.
        root_sha256: What `folder_sha256` said of it when the study was planned.
        out: Appears as a link.
        track: Not needed.

    Raises:
        UserError: No shards there, or others than were planned with.
    """
    if (found := folder_sha256(Path(root))) != root_sha256:
        raise UserError(
            f"{root}: its shards have changed since the study was planned ({found[:12]}, not {root_sha256[:12]}); give "
            "the command again, and what depends on them is trained anew."
        )
    out.symlink_to(Path(root).resolve(), target_is_directory=True)
