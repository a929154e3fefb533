"""The one listing of folders: what lies in a folder, what of it is data, and why the rest is not.

    listing = list_folder(root)
    listing.files                   # every data file at any depth, in natural order, links followed
    listing.with_suffix("tar")      # those with one of the suffixes, whatever their case
    listing.unused                  # reason → names of what is no data

Everything that reads a folder of clips, frames or shards starts here, so that all of it sees the same files.
"""

import os
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import is_disk_fault, unreadable
from mav_lightning.common.terminal import visible
from mav_lightning.common.text_files import composed

__all__ = [
    "BROKEN_LINK", "LISTED_TWICE", "Listing", "ascii_digits", "describe_unused", "is_data_name", "is_folder",
    "list_folder", "natural_key",
]  # fmt: skip

# Companions that operating systems, file servers and Python write. Hidden names (with a leading dot) are not listed.
_NO_DATA = frozenset(
    ("__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
     "~snapshot", "lost+found", "$recycle.bin", "recycler", "recycled", "system volume information", "thumbs.db",
     "desktop.ini", "temporary items", "network trash folder", "icon\r", "paxheader", "paxheaders")
)  # fmt: skip
_SHOWN = 3  # names in a message
_TEXT = 1 << 30  # sorts text behind numbers, whose rank is their number of digits

HIDDEN = "hidden, or a companion file of an operating system or editor"
BROKEN_LINK = "a broken link"
LISTED_TWICE = "linked, but listed already"
LOOP = "a link to a folder that holds this one"
SPECIAL = "not a regular file"


@dataclass(frozen=True)
class Listing:
    """Files below a folder.

    Attributes:
        root: The folder.
        files: Data files, sorted by `natural_key` of their path relative to `root`. Paths start with `root`.
        unused: Reason → names, relative to `root`, of files that are not data. A skipped folder is named once.
        copies: Link to a file → the file that it leads to, by the name under which that is listed first. Frames may be
            repeated by links; a clip, of which each counts, should not be.
    """

    root: Path
    files: tuple[Path, ...]
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    copies: Mapping[Path, Path] = field(default_factory=dict)

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Return the files with one of the suffixes, given without dot and in lower case."""
        return [path for path in self.files if path.suffix[1:].lower() in suffixes]

    def name(self, path: Path) -> str:
        """Return a file's path relative to the root, with forward slashes, as it is on disk."""
        return path.relative_to(self.root).as_posix()


def list_folder(root: Path, *, recursive: bool = True) -> Listing:
    """List a folder.

    Links are followed, each folder once: a loop or a second link to a folder ends in `unused`, and a real folder wins
    over a link to it. A link to a folder that holds `root` is not followed. Hidden names and companions such as
    ``__MACOSX`` are not data; what they hold is not looked at.

    Args:
        root: The folder; its own name may be hidden.
        recursive: If False, list only the files directly in `root`.

    Raises:
        UserError: There is no such folder, or it is the cache of several revisions of a repository.
        MachineError: The disk fails, or too many files are open.
    """
    if not root.is_dir():
        raise UserError(f"{visible(root)}: no such folder.")
    _check_revisions(root)
    walk = _Walk(root)
    walk.visit(root, recursive)
    key = {path: natural_key(path.relative_to(root).as_posix()) for path in walk.files}
    unused = {reason: tuple(sorted(names, key=natural_key)) for reason, names in walk.unused.items()}
    return Listing(root, tuple(sorted(walk.files, key=key.__getitem__)), unused, walk.copies())


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, or a link to one.

    Raises:
        UserError: It is a broken link, so files would be skipped unnoticed.
    """
    if path.is_symlink() and not path.exists():
        raise UserError(f"{visible(path)}: is a broken link; restore the file it leads to, or remove the link.")
    return path.is_dir()


def is_data_name(name: str) -> bool:
    """Return whether a file or archive member can be data by its name: no part of its path is hidden or a companion."""
    return not any(_is_companion(part) for part in name.split("/") if part not in ("", ".", ".."))


def natural_key(name: str) -> tuple[tuple[tuple[int, str], ...], ...]:
    """Return a sort key that orders numbers in names by value: ``2.png`` before ``10.png``.

    Names are compared part by part of the path and in Unicode form NFC. Equal numbers of different widths (``1``,
    ``01``) are ordered by their text, so the order never depends on the file system.

    Example:
        >>> sorted(["10.png", "9.png", "b/1.png", "09.png"], key=natural_key)
        ['09.png', '9.png', '10.png', 'b/1.png']
    """
    name = composed(name)
    return (*(_numbers_by_value(part) for part in name.split("/")), ((-1, name),))


def ascii_digits(name: str) -> str:
    """Return a name with the decimal digits of every script as 0 to 9."""
    return name if name.isascii() else re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), name)


def describe_unused(unused: Mapping[str, Iterable[str]]) -> str:
    """Describe the unused files of a folder in one line; empty if there are none.

    Example:
        >>> describe_unused({"hidden": ["._a.mp4"], "not media": ["a.txt", "b.txt", "c.txt", "d.txt"]})
        '5 not used: 1 hidden (`._a.mp4`); 4 not media (`a.txt`, `b.txt`, `c.txt`, …)'
    """
    groups = {reason: list(names) for reason, names in unused.items()}
    told = []
    for reason, names in groups.items():
        first = ", ".join(f"`{visible(name)}`" for name in names[:_SHOWN])
        told.append(f"{len(names)} {reason} ({first}{', …' if len(names) > _SHOWN else ''})")
    return f"{sum(map(len, groups.values()))} not used: {'; '.join(told)}" if told else ""


def _check_revisions(root: Path) -> None:
    """Raise a `UserError` if a folder is Hugging Face's cache of several revisions of one dataset: all would count."""
    snapshots = root / "snapshots"
    if snapshots.is_dir() and (root / "blobs").is_dir() and (root / "refs").is_dir():
        revisions = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
        if len(revisions) > 1:
            raise UserError(
                f"{visible(root)}: holds {len(revisions)} revisions of a Hugging Face repository; give one of them, "
                f"such as {visible(snapshots / revisions[0])}; files in `refs` name the revision of each branch."
            )


class _Walk:
    """A walk over folders: real ones first, then linked ones, each inode once."""

    def __init__(self, root: Path) -> None:
        self.root, self.files, self.unused = root, list[Path](), dict[str, list[str]]()
        self._seen: set[tuple[int, int]] = set()
        self._links: deque[Path] = deque()
        self._file_of: dict[tuple[tuple[int, int], str], Path] = {}  # inode of its folder, name
        self._linked_files: list[Path] = []

    def visit(self, root: Path, recursive: bool) -> None:
        self._folder(root, recursive, linked=False)
        above = {_inode(folder) for folder in root.resolve().parents}
        while self._links:
            link = self._links.popleft()
            if _inode(link) in above:
                self._leave_out(LOOP, link)
            else:
                self._folder(link, recursive, linked=True)

    def copies(self) -> dict[Path, Path]:
        """Return links to files → the files that they lead to, where these are listed under another name."""
        found = {}
        for link in sorted(self._linked_files, key=lambda path: natural_key(path.as_posix())):
            file = link.resolve()
            if (first := self._file_of.setdefault((_inode(file.parent), file.name), link)) != link:
                found[link] = first
        return found

    def _folder(self, folder: Path, recursive: bool, linked: bool) -> None:
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            inode = _inode(here)
            if linked and inode in self._seen:  # also of real folders, below a link to a parent
                self._leave_out(LISTED_TWICE, here)
                continue
            self._seen.add(inode)
            for entry in self._entries(here):
                if _is_companion(entry.name):
                    self._leave_out(HIDDEN, here / entry.name)
                elif not _is_folder(entry):
                    self._file(entry, here / entry.name, inode)
                elif recursive:
                    (self._links if entry.is_symlink() else waiting).append(here / entry.name)

    def _file(self, entry: "os.DirEntry[str]", path: Path, folder: tuple[int, int]) -> None:
        try:
            if entry.is_file():
                self.files.append(path)
                if entry.is_symlink():
                    self._linked_files.append(path)
                else:
                    self._file_of.setdefault((folder, entry.name), path)
            else:
                self._leave_out(SPECIAL if path.exists() else BROKEN_LINK, path)
        except OSError:  # a link to itself
            self._leave_out(BROKEN_LINK, path)

    def _entries(self, folder: Path) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if is_disk_fault(error):  # what the folder holds would be missing from a result
                raise unreadable(folder, error) from error
            self._leave_out(f"cannot be listed: {error.strerror}", folder)

    def _leave_out(self, reason: str, path: Path) -> None:
        self.unused.setdefault(reason, []).append(path.relative_to(self.root).as_posix())


def _is_companion(name: str) -> bool:
    hidden = name.startswith((".", "~$")) or name.endswith("~") or (name.startswith("#") and name.endswith("#"))
    return hidden or re.sub(r"^(paxheaders)\.\d+$", r"\1", name.lower()) in _NO_DATA


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _inode(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _numbers_by_value(part: str) -> tuple[tuple[int, str], ...]:
    """Return text pieces and numbers, (number of digits, digits) without leading zeros; numbers sort before text.

    Spaces before a number pad it as zeros do: ``frame  9`` comes before ``frame 10``.
    """
    pieces = enumerate(re.split(r" *([0-9]+)", ascii_digits(part)))
    digits = ((number % 2, piece.lstrip("0") if number % 2 else piece) for number, piece in pieces if piece)
    return tuple((len(piece), piece) if is_number else (_TEXT, piece) for is_number, piece in digits)
