"""What a folder of somebody's clips holds: shards, videos, folders of frames and arrays, and what is none of these."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import visible
from mav_lightning.media.formats import HEAD_BYTES, PICTURE_SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES, is_animated
from mav_lightning.media.frame_series import numbered_series
from mav_lightning.media.listing import LISTED_TWICE, Listing, list_folder, natural_key
from mav_lightning.shards.shard_listing import BESIDE_SHARDS, is_compressed_shard

__all__ = ["ClipListing", "list_clips"]

_KINDS = {"tar": "shard", "npy": "array"} | dict.fromkeys(VIDEO_SUFFIXES, "video")
_KINDS |= dict.fromkeys(PICTURE_SUFFIXES, "picture")
_UNREAD = dict.fromkeys(UNREAD_SUFFIXES, "of formats that are not read; convert them to .mp4 or .png") | dict.fromkeys(
    ("npz", "pt", "pth", "mat", "h5", "hdf5"), "arrays that are not read; write each clip with numpy.save"
)


@dataclass(frozen=True)
class ClipListing:
    """Clips below a folder, of all kinds: videos, frame folders and arrays.

    Attributes:
        shards: Tar files, also compressed ones, which `shard_paths` rejects.
        videos: Videos and animations.
        frame_folders: Folders of images, each the frames of one clip.
        arrays: ``.npy`` files.
        loose: Images in the folder itself, if there is no clip at all.
        unused: Reason → names of everything else.
        doubtful: Folder → numbered images in it that are previews or frames, and why that is not clear.
    """

    shards: Sequence[Path]
    videos: Sequence[Path]
    frame_folders: Sequence[Path]
    arrays: Sequence[Path]
    loose: Sequence[Path]
    unused: Mapping[str, Sequence[str]]
    doubtful: Mapping[Path, tuple[Sequence[Path], str]]

    def check_series(self) -> None:
        """Check that numbered images are clearly frames of a clip or previews of clips.

        Raises:
            UserError: More images than clips are beside them, so that a video may be the preview of frames, or images
                have the names of some of the videos, but not of all in a folder.
        """
        for folder, (series, where) in self.doubtful.items():
            raise UserError(
                f"{visible(folder)}: holds {len(series)} numbered images, such as `{visible(series[0].name)}`, "
                f"{where}; put the frames of each clip, and nothing else, into a folder of its own, and previews "
                "elsewhere."
            )


def list_clips(root: Path) -> ClipListing:
    """Find all clips below a folder, at any depth.

    Images are the frames of one clip if no clip of another kind is in their folder or below it; beside clips, or with
    the names of videos, they are previews. Of a file that links lead to twice, the first name counts.
    """
    listing = list_folder(root)
    unused = {reason: list(names) for reason, names in listing.unused.items()}
    kinds, others = _by_kind(listing)
    clips = [path for kind in ("shard", "video", "array") for path in kinds[kind]]
    clips_in = Counter(folder for path in clips for folder in _up_to(root, path.parent))
    images = defaultdict[Path, list[Path]](list)
    for path in kinds["picture"]:
        images[path.parent].append(path)
    named = _names_by_folder([*kinds["video"], *kinds["array"]])
    folders, doubtful = list[Path](), dict[Path, tuple[Sequence[Path], str]]()
    sharded = {folder for shard in kinds["shard"] for folder in _up_to(root, shard.parent)}
    for folder in sorted(images, key=lambda folder: len(folder.parts), reverse=True):
        stems, series = {path.stem.lower() for path in images[folder]}, _longest_series(images[folder])
        if clips_in[folder]:
            others["images beside clips, not frames of one"] += images[folder]
            if len(series) > clips_in[folder] and folder not in sharded:
                doubtful[folder] = (series, f"beside {counted(clips_in[folder], 'clip')}")
        elif stems <= set().union(*named):
            others["images with the names of videos"] += images[folder]
            if len(series) > 1 and stems not in named:
                doubtful[folder] = (series, "with the names of some of the videos")
        elif folder != root:
            folders.append(folder)
            clips_in.update(_up_to(root, folder))
    for reason, paths in others.items():
        unused[reason] = [*unused.get(reason, ()), *map(listing.name, paths)]
    frame_folders = sorted(folders, key=lambda folder: natural_key(folder.relative_to(root).as_posix()))
    loose = [] if clips_in[root] else images[root]
    return ClipListing(kinds["shard"], kinds["video"], frame_folders, kinds["array"], loose, unused, doubtful)


def _names_by_folder(clips: Iterable[Path]) -> list[set[str]]:
    """Return the names of the clips in each folder, without suffixes, in lower case."""
    named = defaultdict[Path, set[str]](set)
    for path in clips:
        named[path.parent].add(path.stem.lower())
    return list(named.values())


def _longest_series(images: Iterable[Path]) -> list[Path]:
    return max(numbered_series(images), key=len, default=[])


def _by_kind(listing: Listing) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the kind of clip → its files, and the reason → files that are none."""
    kinds, others = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
    kind_of = {path: _kind(path) for path in listing.files}
    for path, kind in kind_of.items():
        if kind in ("shard", "video", "array") and kind == kind_of.get(listing.copies.get(path, path / "?")):
            others[LISTED_TWICE].append(path)
        elif kind is not None:
            kinds[kind].append(path)
        elif (unread := _UNREAD.get(path.suffix[1:].lower())) is not None:
            others[unread].append(path)
        elif not _is_own(path, kind_of):
            others["not media"].append(path)
    return kinds, others


def _is_own(path: Path, kind_of: Mapping[Path, str | None]) -> bool:
    """Return whether this project wrote a file next to shards; elsewhere one of such a name is somebody else's."""
    named = any(fnmatch(path.name, pattern) for pattern in BESIDE_SHARDS)
    return named and any(other.parent == path.parent for other, kind in kind_of.items() if kind == "shard")


def _up_to(root: Path, folder: Path) -> Iterable[Path]:
    """Yield a folder and those above it, up to the root."""
    return (folder, *(above for above in folder.parents if above.is_relative_to(root))) if folder != root else (root,)


def _kind(path: Path) -> str | None:
    if is_compressed_shard(path):
        return "shard"
    suffix = path.suffix[1:].lower()
    if suffix in ("webp", "png"):
        with path.open("rb") as file:
            return "video" if is_animated(file.read(HEAD_BYTES)) else "picture"
    return _KINDS.get(suffix)
