"""Weights that the user brings: which are known, where they lie, and whether they are the right ones."""

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError, did_you_mean

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
_GIT_BLOB = re.compile(r"[0-9a-f]{8,40}")
_CHUNK = 1 << 20  # bytes


class FileHashes(NamedTuple):
    """Hashes of a file's bytes.

    Attributes:
        sha256: 64 hexadecimal digits.
        git_blob: What ``git hash-object FILE`` prints, 40 hexadecimal digits.
    """

    sha256: str
    git_blob: str

    def mismatch(self, sha256: str | None, git_blob: str | None) -> str:
        """What is not as wanted, such as "has sha256 …, not …"; an empty string where nothing is.

        Args:
            sha256: All of it; None wants none.
            git_blob: At least its first 8 digits; None wants none.

        Raises:
            UserError: A wanted hash has another form.
        """
        _demand_hash("sha256", sha256, _SHA256, "64 hexadecimal digits")
        _demand_hash("git_blob", git_blob, _GIT_BLOB, "the first 8 to 40 hexadecimal digits of `git hash-object FILE`")
        if sha256 is not None and self.sha256 != sha256:
            return f"has sha256 {self.sha256}, not {sha256}"
        if git_blob is not None and not self.git_blob.startswith(git_blob):
            return f"is git blob {self.git_blob}, not {git_blob}"
        return ""


def file_hashes(path: Path) -> FileHashes:
    """Hashes a file in one reading."""
    # git's id of a blob is no protection against forgery, but ports are published by it
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return FileHashes(sha256.hexdigest(), blob.hexdigest())


def check_weights(path: Path, sha256: str | None = None, git_blob: str | None = None) -> str:
    """The sha256 of a file that is the one wanted.

    Args:
        path: The file.
        sha256: What it must hash to; None accepts any.
        git_blob: At least the first 8 digits of its id as a git blob; None accepts any.

    Raises:
        UserError: No such file, other bytes than wanted, or a wanted hash that is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; `mav weights list` tells which are known and where to get them.")
    found = file_hashes(path)
    if problem := found.mismatch(sha256, git_blob):
        raise UserError(
            f"{path}: {problem}; get the file again, or name the hash found if this file is meant, since its numbers "
            "will not compare."
        )
    return found.sha256


def weights_folder(given: Path | None = None) -> Path:
    """Where weights lie: `given`, else ``$MAV_WEIGHTS``, else ``~/.cache/mav-lightning/weights``."""
    if given is not None:
        return given
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named or "~/.cache/mav-lightning/weights").expanduser()


@dataclass(frozen=True)
class WeightsFile:
    """One file of known weights.

    Attributes:
        name: Within its entry.
        url: None where nobody may fetch it by machine.
        sha256: None where nobody published it.
        git_blob: At least 8 digits of its id as a git blob; None where it lies in no repository.
        bytes: Its size; None where unknown.
        instead_of: The file that need not be there if this one is.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    git_blob: str | None = None
    bytes: int | None = None
    instead_of: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether any of its hashes is known."""
        return self.sha256 is not None or self.git_blob is not None


@dataclass(frozen=True)
class Weights:
    """Weights that are known: one file, or a folder of files.

    Attributes:
        name: Of the file, or of the folder; it may have parent folders.
        what: What it is.
        where: Where it is from, in words.
        licence: As far as its publishers state one; None where they do not.
        files: A single one has the entry's name.
    """

    name: str
    what: str
    where: str
    licence: str | None
    files: tuple[WeightsFile, ...]

    def path(self, file: WeightsFile, folder: Path) -> Path:
        """Where one of the files lies, if weights lie in `folder`."""
        return folder / self.name if file.name == self.name else folder / self.name / file.name

    def there(self, folder: Path) -> list[WeightsFile]:
        """The files that lie in `folder`."""
        return [file for file in self.files if self.path(file, folder).is_file()]

    def missing(self, folder: Path) -> list[WeightsFile]:
        """The files that neither lie in `folder` nor have another one there instead."""
        there = {name for file in self.there(folder) for name in (file.name, file.instead_of)}
        return [file for file in self.files if file.instead_of is None and file.name not in there]


def known_weights(path: Path = CATALOGUE) -> dict[str, Weights]:
    """Name → weights, in the order of the catalogue.

    Raises:
        UserError: Not YAML; unknown, missing or unusable fields.
    """
    try:
        values: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: not YAML ({error}); see {CATALOGUE} for an example.") from error
    _demand_keys(path, "", values, (), None)
    return {name: _weights(path, name, value) for name, value in values.items()}


def find_weights(name: str, path: Path = CATALOGUE) -> Weights:
    """Known weights by name.

    Raises:
        UserError: Unknown name, or a damaged catalogue.
    """
    known = known_weights(path)
    if name not in known:
        raise UserError(f"no weights `{name}`{did_you_mean(name, known)}; known: {', '.join(known)}.")
    return known[name]


def _weights(path: Path, name: str, values: Any) -> Weights:
    _demand_keys(path, name, values, ("what", "where", "files"), ("what", "where", "licence", "base", "files"))
    _demand_name(path, name)
    for field in ("what", "where", "licence", "base"):
        if not isinstance(values.get(field, ""), str):
            raise UserError(f"{path}: `{name}.{field}` must be words; got {values[field]!r}.")
    base, entries = values.get("base"), values["files"]
    _demand_keys(path, f"{name}.files", entries, (), None)
    files = tuple(_file(path, f"{name}.files.{file}", file, each, base) for file, each in entries.items())
    names = [file.name for file in files]
    for file in files:
        _demand_name(path, file.name)
        if file.instead_of is not None and file.instead_of not in names:
            raise UserError(f"{path}: `{name}.files.{file.name}.instead_of` names `{file.instead_of}`, no file of it.")
    if not files or name in names and len(files) > 1:
        raise UserError(f"{path}: `{name}` must have one file of its own name, or files of other names; got {names}.")
    return Weights(name, values["what"], values["where"], values.get("licence"), files)


def _file(path: Path, key: str, name: str, values: Any, base: str | None) -> WeightsFile:
    _demand_keys(path, key, values, (), ("url", "sha256", "git_blob", "bytes", "instead_of"))
    try:
        FileHashes("", "").mismatch(values.get("sha256"), values.get("git_blob"))
    except UserError as error:
        raise UserError(f"{path}: `{key}`: {error}") from error
    size = values.get("bytes")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise UserError(f"{path}: `{key}.bytes` must be a positive whole number; got {size!r}.")
    url = values.get("url") or (base and f"{base}{name}")
    if url and not url.startswith("https://"):
        raise UserError(f"{path}: `{key}` must have an address that begins with https://; got {url}.")
    return WeightsFile(name, **values | {"url": url})


def _demand_keys(path: Path, key: str, values: Any, needed: Collection[str], allowed: Collection[str] | None) -> None:
    """Refuses what is no mapping of strings with these keys; None allows any."""
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f"{path}: `{key or 'the file'}` must map names to values; got {values!r}.")
    if missing := [name for name in needed if name not in values]:
        raise UserError(f"{path}: no `{key}.{missing[0]}`; every entry has {', '.join(needed)}.")
    for name in values:
        if allowed is not None and name not in allowed:
            raise UserError(f"{path}: unknown field `{key}.{name}`{did_you_mean(name, allowed)}.")


def _demand_name(path: Path, name: str) -> None:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise UserError(f"{path}: `{name}` must be a name inside the folder of weights; leave out `/` and `..`.")


def _demand_hash(kind: str, value: Any, pattern: re.Pattern[str], form: str) -> None:
    if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
        raise UserError(f"a {kind} is {form}, in lower case; got {value!r}.")
