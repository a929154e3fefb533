"""What a folder of somebody's clips holds: shards, videos, folders of frames and arrays, and what is none of these."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mav_lightning.media.formats import HEAD_BYTES, PICTURE_SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES, is_animated
from mav_lightning.media.listing import list_folder, natural_key
from mav_lightning.shards.shard_listing import BESIDE_SHARDS, is_compressed_shard

__all__ = ["ClipListing", "list_clips"]

_KINDS = {"tar": "shard", "npy": "array"} | dict.fromkeys(VIDEO_SUFFIXES, "video")
_KINDS |= dict.fromkeys(PICTURE_SUFFIXES, "picture")


@dataclass(frozen=True)
class ClipListing:
    """Clips below a folder. No kind hides another: all of them are clips.

    Attributes:
        shards: Tar files, also compressed ones, which `shard_paths` rejects.
        videos: Videos and animations.
        frame_folders: Folders of images, each the frames of one clip.
        arrays: ``.npy`` files.
        loose: Images in the folder itself, which belong to no clip.
        unused: Reason → names of everything else.
    """

    shards: Sequence[Path]
    videos: Sequence[Path]
    frame_folders: Sequence[Path]
    arrays: Sequence[Path]
    loose: Sequence[Path]
    unused: Mapping[str, Sequence[str]]


def list_clips(root: Path) -> ClipListing:
    """Sort out what is below a folder, at any depth.

    Images are the frames of one clip if their folder holds no clips of another kind; beside videos they are previews.
    """
    listing = list_folder(root)
    unused = {reason: list(names) for reason, names in listing.unused.items()}
    kinds, others = defaultdict[str, list[Path]](list), defaultdict[str, list[str]](list)
    for path in listing.files:
        kind = _kind(path)
        if kind is not None:
            kinds[kind].append(path)
        elif any(fnmatch(path.name, pattern) for pattern in BESIDE_SHARDS):  # elsewhere it is somebody else's
            kinds["own"].append(path)
        elif path.suffix[1:].lower() in UNREAD_SUFFIXES:
            others["of formats that are not read; convert them to .mp4 or .png"].append(listing.name(path))
        else:
            kinds["other"].append(path)
    sharded = {path.parent for path in kinds["shard"]}
    foreign = [path for path in kinds["own"] if path.parent not in sharded]
    others["not media"] = [listing.name(path) for path in sorted([*kinds["other"], *foreign])]
    occupied = sharded | {path.parent for kind in ("video", "array") for path in kinds[kind]}
    folders = {path.parent for path in kinds["picture"]} - occupied - {root}
    for path in kinds["picture"]:
        if path.parent in occupied:
            others["images beside clips, not frames of one"].append(listing.name(path))
    loose = [path for path in kinds["picture"] if path.parent == root and root not in occupied]
    frame_folders = sorted(folders, key=lambda folder: natural_key(folder.relative_to(root).as_posix()))
    unused |= {reason: names for reason, names in others.items() if names}
    return ClipListing(kinds["shard"], kinds["video"], frame_folders, kinds["array"], loose, unused)


def _kind(path: Path) -> str | None:
    if is_compressed_shard(path):
        return "shard"
    suffix = path.suffix[1:].lower()
    if suffix == "webp":
        with path.open("rb") as file:
            return "video" if is_animated(file.read(HEAD_BYTES)) else "picture"
    return _KINDS.get(suffix)
