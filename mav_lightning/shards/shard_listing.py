"""Shards in folders: which files are shards, and in which order."""

import re
from pathlib import Path

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import visible
from mav_lightning.media.listing import BROKEN_LINK, list_folder

__all__ = ["BESIDE_SHARDS", "is_compressed_shard", "shard_folders", "shard_paths"]

_COMPRESSED = re.compile(
    r"\.(tar\.(gz|bz2?|xz|zst|lz4|lzma|lzo|lz|z|zip|7z|rar|br|sz)|tgz|taz|tbz2?|tb2|tz2|txz|tzst|tlz)\Z", re.IGNORECASE
)
BESIDE_SHARDS = ("index.safetensors", "index.json", "embeddings-*.safetensors", "latents-*.safetensors")
"""Patterns of the files that this project writes next to shards."""
_REMEDY = "write shards with `mav data pack` or `mav data shapes`"


def shard_paths(folder: Path) -> list[Path]:
    """Return the ``*.tar`` files directly in a folder, sorted by name, which is the order that training relies on.

    Raises:
        UserError: There is no such folder, or it holds compressed shards or links to shards that are gone, of which
            samples would be missing.
    """
    return _shards(folder, recursive=False)


def shard_folders(root: Path) -> list[Path]:
    """Return `root` and the folders below it that hold shards, sorted; links are followed.

    Raises:
        UserError: There is no such folder, no shard anywhere in it, a compressed one, or a link to one that is gone.
    """
    if not (found := sorted({path.parent for path in _shards(root, recursive=True)})):
        raise UserError(f"{root}: holds no .tar shards; {_REMEDY}.")
    return found


def is_compressed_shard(path: Path) -> bool:
    """Return whether a file is a compressed tar by its name; samples cannot be found in it."""
    return _COMPRESSED.search(path.name) is not None


def _shards(root: Path, recursive: bool) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {_REMEDY}.")
    listing = list_folder(root, recursive=recursive)
    if packed := [path for path in listing.files if is_compressed_shard(path)]:
        raise UserError(
            f"{root}: holds {counted(len(packed), 'compressed shard')}, such as {listing.name(packed[0])}, in which "
            "samples cannot be found; unpack them, for example .tar.gz with `gunzip`."
        )
    gone = [name for name in listing.unused.get(BROKEN_LINK, ()) if name.lower().endswith(".tar")]
    if gone:
        raise UserError(
            f"{root}: holds {counted(len(gone), 'link')} to missing shards, such as {visible(gone[0])}; restore "
            "the shards, or remove the links."
        )
    return sorted(listing.with_suffix("tar"))
