"""Features on disk: nothing is extracted twice."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import tensors_sha256
from mav_lightning.common.whole_file import whole_file

__all__ = ["FeatureStore", "features_folder", "key_of"]

_VIEW = "view.json"
_SHA256 = "sha256"  # key of a file's metadata: hash of its features


class FeatureStore:
    """The features of one extractor under one preparation, by key, in files that are written atomically.

    Several processes may write at once: a file is named after its keys, and files that share a key hold the same
    features for it. Each file records the sha256 of its features, which is compared before they are used.

    Args:
        root: Folder of all features.
        view: Everything except the clip that changes features: extractor, hash of its weights, frame size, batch size,
            versions. Every view has its own folder.
    """

    def __init__(self, root: Path, view: Mapping[str, Any]) -> None:
        text = json.dumps(view, sort_keys=True, indent=1)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._view, self._files = text, dict[str, Path]()
        self._seen, self._verified = set[Path](), set[Path]()

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without stored features, each once; features in damaged files count as missing."""
        self._look()
        wanted = list(dict.fromkeys(keys))
        for path in {self._files[key] for key in wanted if key in self._files} - self._verified:
            self._verify(path)
        return [key for key in wanted if key not in self._files]

    def add(self, keys: Sequence[str], features: Tensor) -> None:
        """Write the features of some keys, one row of `features` each, to one file."""
        view = self.folder / _VIEW
        if not view.exists():
            with whole_file(view) as partial:
                partial.write_text(self._view + "\n")
        name = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]
        rows = {key: row.clone() for key, row in zip(keys, features.cpu(), strict=True)}
        with whole_file(self.folder / f"{name}.safetensors") as partial:
            save_file(rows, partial, {_SHA256: tensors_sha256(rows)})
        self._files |= dict.fromkeys(keys, self.folder / f"{name}.safetensors")
        self._seen.add(self.folder / f"{name}.safetensors")

    def read(self, keys: Sequence[str]) -> Tensor:
        """Return the stored features of keys, stacked in their order: (keys, …).

        Raises:
            UserError: If a key has no features, or those in a damaged file; if clips have features of other shapes.
        """
        if gone := self.missing(keys):
            raise UserError(f"{self.folder}: {len(gone)} features are missing or damaged; run the evaluation again.")
        by_file: dict[Path, list[str]] = {}
        for key in dict.fromkeys(keys):
            by_file.setdefault(self._files[key], []).append(key)
        found: dict[str, Tensor] = {}
        for path, own in by_file.items():
            with safe_open(path, framework="pt") as file:
                found |= {key: file.get_tensor(key) for key in own}
        shapes = {tuple(row.shape) for row in found.values()}
        if len(shapes) > 1:
            shown = " and ".join(str(shape) for shape in sorted(shapes)[:2])
            raise UserError(f"clips have features of other shapes ({shown}); add a step `resize` to the protocol.")
        return torch.stack([found[key] for key in keys])

    def _look(self) -> None:
        """Register files that were written since the last call."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._seen):
            self._seen.add(path)
            try:
                with safe_open(path, framework="pt") as file:
                    if _SHA256 in (file.metadata() or {}):  # otherwise written by an earlier version
                        self._files |= dict.fromkeys(file.keys(), path)
            except (SafetensorError, OSError) as error:
                _warn_of(path, str(error))

    def _verify(self, path: Path) -> None:
        """Compare the features in a file with their hash, once in a process, and forget them if they differ."""
        try:
            with safe_open(path, framework="pt") as file:
                stored = {key: file.get_tensor(key) for key in file.keys()}
                intact = tensors_sha256(stored) == file.metadata()[_SHA256]
        except (SafetensorError, OSError):
            intact = False
        if intact:
            self._verified.add(path)
            return
        _warn_of(path, "another sha256")
        self._files = {key: place for key, place in self._files.items() if place != path}


def key_of(*facts: str) -> str:
    """Hash texts to 32 hexadecimal digits."""
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]


def features_folder() -> Path:
    """Return the default folder of features, ``~/.cache/mav-lightning/features``."""
    return Path("~/.cache/mav-lightning/features").expanduser()


def _warn_of(path: Path, problem: str) -> None:
    warnings.warn(f"{path}: damaged ({problem}); its features are extracted again.", stacklevel=4)
