"""Extractor weights that the user provides: the catalogue of known ones, their folder, and their hashes."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import PositiveInt, check
from mav_lightning.common.yaml_files import read_mapping

__all__ = [
    "FileHashes",
    "Weights",
    "WeightsFile",
    "check_weights",
    "file_hashes",
    "find_weights",
    "known_weights",
    "weights_folder",
]

CATALOGUE = conf_root() / "weights.yaml"
FOLDER_VARIABLE = "MAV_WEIGHTS"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_CHUNK = 1 << 20  # bytes


class FileHashes(NamedTuple):
    """Hashes of a file's bytes.

    Attributes:
        sha256: sha256, 64 hexadecimal digits.
        git_blob: Output of ``git hash-object FILE``, 40 hexadecimal digits.
    """

    sha256: str
    git_blob: str

    def mismatch(self, sha256: str | None, git_blob: str | None) -> str:
        """Describe the first difference, such as "has sha256 …, not …"; empty if there is none.

        Args:
            sha256: Expected sha256. None accepts any.
            git_blob: Expected git blob id. None accepts any.

        Raises:
            UserError: If an expected hash has the wrong form.
        """
        _require_hash("sha256", sha256, _SHA256, "64 hexadecimal digits")
        _require_hash("git_blob", git_blob, _GIT_BLOB, "40 hexadecimal digits, as `git hash-object FILE` prints them")
        if sha256 is not None and self.sha256 != sha256:
            return f"has sha256 {self.sha256}, not {sha256}"
        if git_blob is not None and self.git_blob != git_blob:
            return f"is git blob {self.git_blob}, not {git_blob}"
        return ""


def file_hashes(path: Path) -> FileHashes:
    """Hash a file, reading it once."""
    # git's id of a blob is no protection against forgery, but ports are published by it
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return FileHashes(sha256.hexdigest(), blob.hexdigest())


def check_weights(path: Path, sha256: str | None = None, git_blob: str | None = None) -> str:
    """Check the hashes of a file and return its sha256.

    Args:
        path: The file.
        sha256: Expected sha256. None accepts any.
        git_blob: Expected git blob id. None accepts any.

    Raises:
        UserError: If the file is missing, has other hashes, or an expected hash has the wrong form.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; `mav weights list` shows known weights and where to get them.")
    found = file_hashes(path)
    if problem := found.mismatch(sha256, git_blob):
        raise UserError(
            f"{path}: {problem}; get the file again, or pin the hash found if this file is intended, since its "
            "numbers are not comparable."
        )
    return found.sha256


def weights_folder(given: Path | None = None) -> Path:
    """Return the folder of weights: `given`, else ``$MAV_WEIGHTS``, else ``~/.cache/mav-lightning/weights``."""
    if given is not None:
        return given
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named or "~/.cache/mav-lightning/weights").expanduser()


@dataclass(frozen=True)
class WeightsFile:
    """One file of known weights.

    Attributes:
        name: Name within the entry.
        url: Address. None if it cannot be downloaded automatically.
        sha256: Expected sha256. None if none was published.
        git_blob: Git blob id, 40 hexadecimal digits. None if the file is in no repository.
        bytes: Size. None if unknown.
        instead_of: File that is not needed if this one is present.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    git_blob: str | None = None
    bytes: int | None = None
    instead_of: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether a hash is known."""
        return self.sha256 is not None or self.git_blob is not None


@dataclass(frozen=True)
class Weights:
    """Known weights: one file, or a folder of files.

    Attributes:
        name: Name of the file or the folder; it may have parent folders.
        what: Description.
        where: Origin.
        licence: License, if its publishers state one, else None.
        files: The files; a single one has the entry's name.
    """

    name: str
    what: str
    where: str
    licence: str | None
    files: tuple[WeightsFile, ...]

    def path(self, file: WeightsFile, folder: Path) -> Path:
        """Return the path of one of the files in a folder of weights."""
        return folder / self.name if file.name == self.name else folder / self.name / file.name

    def there(self, folder: Path) -> list[WeightsFile]:
        """Return the files that are present in a folder of weights."""
        return [file for file in self.files if self.path(file, folder).is_file()]

    def missing(self, folder: Path) -> list[WeightsFile]:
        """Return the files that are absent from a folder of weights and not replaced by another one."""
        there = {name for file in self.there(folder) for name in (file.name, file.instead_of)}
        return [file for file in self.files if file.instead_of is None and file.name not in there]


@dataclass(frozen=True)
class FileEntry:
    """One file in the catalogue; see `WeightsFile`."""

    url: str | None = None
    sha256: str | None = None
    git_blob: str | None = None
    bytes: PositiveInt | None = None
    instead_of: str | None = None


@dataclass(frozen=True)
class WeightsEntry:
    """One entry of the catalogue; see `Weights`. `base` is the address that names of files are appended to."""

    what: str
    where: str
    files: Mapping[str, FileEntry]
    licence: str | None = None
    base: str | None = None


def known_weights(path: Path = CATALOGUE) -> dict[str, Weights]:
    """Read the catalogue: name → weights, in its order.

    Args:
        path: The catalogue.

    Raises:
        UserError: If the file is not YAML, or fields are unknown, missing or do not fit.
    """
    entries = check(read_mapping(path), Mapping[str, WeightsEntry], str(path))
    return {name: _weights(path, name, entry) for name, entry in entries.items()}


def find_weights(name: str, path: Path = CATALOGUE) -> Weights:
    """Return known weights by name.

    Raises:
        UserError: If the name is unknown, or the catalogue is damaged.
    """
    known = known_weights(path)
    if name not in known:
        raise UserError(f"no weights `{name}`; known are {', '.join(known)}.", suggestion=nearest(name, known))
    return known[name]


def _weights(path: Path, name: str, entry: WeightsEntry) -> Weights:
    _require_name(path, name)
    files = tuple(_file(path, f"{name}.files.{file}", file, each, entry.base) for file, each in entry.files.items())
    names = [file.name for file in files]
    for file in files:
        _require_name(path, file.name)
        if file.instead_of is not None and file.instead_of not in names:
            raise UserError(
                f"{path}: `{name}.files.{file.name}.instead_of` names `{file.instead_of}`, which is not one of its "
                "files."
            )
    if not files or (name in names and len(files) > 1):
        raise UserError(f"{path}: `{name}` must have one file of its own name, or files of other names; got {names}.")
    return Weights(name, entry.what, entry.where, entry.licence, files)


def _file(path: Path, key: str, name: str, entry: FileEntry, base: str | None) -> WeightsFile:
    try:
        FileHashes("", "").mismatch(entry.sha256, entry.git_blob)
    except UserError as error:
        raise UserError(f"{path}: `{key}`: {error}") from error
    url = entry.url or (base and f"{base}{name}")
    if url and not url.startswith("https://"):
        raise UserError(f"{path}: `{key}` must have an address that begins with https://; got {url}.")
    return WeightsFile(name, url, entry.sha256, entry.git_blob, entry.bytes, entry.instead_of)


def _require_name(path: Path, name: str) -> None:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise UserError(f"{path}: `{name}` must be a name inside the folder of weights; leave out `/` and `..`.")


def _require_hash(kind: str, value: str | None, pattern: re.Pattern[str], form: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise UserError(f"a {kind} is {form}, in lower case; got {value!r}.")
