"""Shards that a user provides for a study."""

from dataclasses import dataclass
from pathlib import Path

from datamodules.index import folder_sha256
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track, untracked

__all__ = ["LinkShards"]


@dataclass(frozen=True, kw_only=True)
class LinkShards(Task):
    """Link to a folder of indexed shards.

    Attributes:
        root: Folder with ``images`` and ``clips`` as `mav data pack` writes it. It must stay in place. None leaves it
            to the study.
        root_sha256: Hash of its content, from `folder_sha256`, when the study was planned. None before.
    """

    root: str | None = None
    root_sha256: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self)

    def run(self, place: Path, *, seed: int | None = None, track: Track = untracked) -> None:
        """Make `place` a link to the folder.

        Args:
            place: Path of the link.
            seed: Not used, as nothing is random.
            track: Not used, as linking takes no time.

        Raises:
            UserError: There are no shards, or their content has changed since the study was planned.
        """
        if self.root is None or self.root_sha256 is None:
            raise UserError("give the folder of your shards.", argument="root")
        found = folder_sha256(Path(self.root))
        if found != self.root_sha256:
            raise UserError(
                f"{self.root}: the shards have changed since the study was planned ({found[:12]}, not "
                f"{self.root_sha256[:12]}); run the command again to retrain what depends on them."
            )
        place.symlink_to(Path(self.root).resolve(), target_is_directory=True)
