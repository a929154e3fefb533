"""Links to shards of a user: a dataset for a study, and an index of shards that cannot be written next to."""

from dataclasses import dataclass
from pathlib import Path

from datamodules.index import folder_sha256
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import check_output
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.shards.shard_listing import shard_folders, shard_paths

__all__ = ["LinkShards", "link_shards"]


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
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: There are no shards, or their content has changed since the study was planned.
        """
        if self.root is None or self.root_sha256 is None:
            raise UserError("is not set; give the folder of your shards.", argument="root")
        found = folder_sha256(Path(self.root))
        if found != self.root_sha256:
            raise UserError(
                f"{self.root}: the shards have changed since the study was planned ({found[:12]}, not "
                f"{self.root_sha256[:12]}); run the command again to retrain what depends on them."
            )
        place.symlink_to(Path(self.root).resolve(), target_is_directory=True)


def link_shards(root: Path, out: Path) -> list[Path]:
    """Fill a folder with links to all shards of a read-only dataset, so that indexes can be written next to the links.

    The folder is then used in place of the dataset. Links to shards that are gone are removed.

    Args:
        root: Dataset, or one folder of shards.
        out: New folder, or one written by an earlier call.

    Returns:
        The folders of links, in the order of `shard_folders`.

    Raises:
        UserError: There are no shards, `out` cannot be written, is inside of `root`, or holds a file of a shard's name.
    """
    folders = shard_folders(root)
    check_output(out, "folder", argument="index")
    if out.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{out}: is inside of the dataset; choose a folder outside of {root}.", argument="index")
    places = [out / folder.relative_to(root) for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        place.mkdir(parents=True, exist_ok=True)
        shards = {shard.name: shard.resolve() for shard in shard_paths(folder)}
        for link in place.glob("*.tar"):
            if not link.is_symlink():
                raise UserError(f"{link}: is not a link; choose an empty folder.", argument="index")
            link.unlink()
        for name, shard in shards.items():
            (place / name).symlink_to(shard)
    return places
