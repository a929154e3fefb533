"""Checkpoints written atomically, with checksums, and loaded without running code."""

import hashlib
import pickle
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn

from mav_lightning.common.errors import UserError
from mav_lightning.common.units import memory
from mav_lightning.common.whole_file import remove_partial_files, whole_file
from mav_lightning.networks.checkpoint_parts import checkpoint_files
from mav_lightning.networks.checkpoint_reader import read_checkpoint
from mav_lightning.training.checkpoint_writer import nested_tensors, other_objects

__all__ = [
    "AtomicCheckpointIO",
    "checkpoint_path",
    "checkpoint_step",
    "checkpoints",
    "is_intact",
    "newest_checkpoint",
    "remove_leftovers",
]

_NAME = re.compile(r"step-([0-9]{8,})(-00001-of-[0-9]{5})?\.ckpt")  # of sharded ones, the first process's part
SPARE_BYTES = 1 << 20  # pickle, zip headers and the checksum file, in addition to the tensors


class AtomicCheckpointIO(CheckpointIO):
    """Plugin that writes each checkpoint under a temporary name in the same folder and renames it last.

    Lightning's own writer uses the system's temporary folder. If that is another file system, a kill leaves a truncated
    file and a full disk destroys the previous checkpoint. ``x.ckpt.sha256`` is stored next to ``x.ckpt``, in the format
    of ``sha256sum -c``. It is written first, so a checkpoint without one was not written by this class.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], None] | None = None,
    ) -> None:
        """Write a checkpoint. If that fails, existing files stay unchanged.

        Args:
            checkpoint: Nested plain data and tensors.
            path: The file.
            storage_options: Called with the checkpoint and a function that writes it, to call now or later. None to
                write it now.

        Raises:
            UserError: If the disk is full or the write fails, the checkpoint holds objects that a safe load rejects
                (which would otherwise show only on resuming), or `path` is a URL.
        """
        write = partial(_write, _local(path))
        if storage_options is None:
            write(checkpoint)
        else:
            storage_options(checkpoint, write)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint, always with torch's safe unpickler, whatever the value of `weights_only`.

        Raises:
            UserError: If there is no such file, `path` is a URL, the bytes differ from the recorded sha256, or the file
                is not a checkpoint of tensors and plain values.
        """
        path = _local(path)
        for file in checkpoint_files(path):
            if file.is_file() and _recorded_sha256(file) not in (None, _sha256(file)):
                raise UserError(
                    f"{file}: does not match its checksum in {_sidecar(file).name}; use an older checkpoint."
                )
        return read_checkpoint(path, map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the checkpoint, all its parts if it is sharded, and their checksums."""
        for file in checkpoint_files(_local(path)):
            _remove(file)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint after `step` optimizer steps."""
    return folder / f"step-{step:08d}.ckpt"


def checkpoint_step(path: Path) -> int:
    """Return the number of optimizer steps before a checkpoint."""
    return int(path.stem.split("-")[1])


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in `folder`, newest first and unverified; empty if there is no such folder.

    A sharded checkpoint is listed as its first part, once all parts are there. Files with other names, such as copies
    made by hand, do not count.
    """
    own = [path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name) and _is_complete(path)]
    return sorted(own, key=checkpoint_step, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that matches its checksum, or None.

    Newer ones that do not match are renamed to ``*.corrupt`` with a warning, so that they no longer count as a
    generation. Call it for a training's own folder only.
    """
    found = checkpoints(folder)
    for path in found:
        try:
            if is_intact(path):
                return path
        except FileNotFoundError:  # another rank has just set it aside
            continue
        _set_aside(path)
    if found:
        rank_zero_warn(f"{folder}: no checkpoint matches its checksum, so the training starts from scratch.")
    return None


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process has left of a write or a removal. Call it while no other process writes here."""
    remove_partial_files(folder, "step-*.ckpt", "step-*.ckpt.sha256")
    for part in folder.glob("step-*-of-*.ckpt"):
        if not _is_complete(part):
            _remove(part)
    for sidecar in folder.glob("step-*.ckpt.sha256"):
        if not sidecar.with_suffix("").exists():
            sidecar.unlink(missing_ok=True)


def is_intact(path: Path) -> bool:
    """Return whether a checkpoint matches its checksum, all parts of it if it is sharded; False without one.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    return all(_recorded_sha256(file) == _sha256(file) for file in checkpoint_files(path))


@rank_zero_only
def _set_aside(path: Path) -> None:
    for file in checkpoint_files(path):
        file.rename(file.with_name(f"{file.name}.corrupt"))
    rank_zero_warn(f"{path} does not match its checksum: set aside as {path.name}.corrupt.")


def _is_complete(path: Path) -> bool:
    return all(file.is_file() for file in checkpoint_files(path))


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    _sidecar(file).unlink(missing_ok=True)


def _local(path: str | Path) -> Path:
    if "://" in str(path):
        raise UserError(f"{path}: checkpoints are read from local files only; download it and check its sha256 first.")
    return Path(path)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded_sha256(path: Path) -> str | None:
    """Return the recorded checksum, or None if there is none."""
    try:
        return _sidecar(path).read_text(errors="replace").partition(" ")[0]
    except FileNotFoundError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write(path: Path, checkpoint: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_full_disk(path, sum(tensor.nbytes for tensor in nested_tensors(checkpoint)) + SPARE_BYTES)
    try:
        with whole_file(path) as partial_file:
            torch.save(checkpoint, partial_file)
            _refuse_unsafe(path, partial_file, checkpoint)
            with whole_file(_sidecar(path)) as sidecar:
                sidecar.write_text(f"{_sha256(partial_file)}  {path.name}\n")
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: the checkpoint cannot be written ({reason}); free space or make the folder writable, and "
            "resume: training continues from the previous checkpoint."
        ) from error


def _refuse_full_disk(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise UserError(
            f"{path}: the checkpoint needs {memory(needed)} and the disk has {memory(free)} left; free space "
            "and resume: training continues from the previous checkpoint."
        )


def _refuse_unsafe(path: Path, written: Path, checkpoint: dict[str, Any]) -> None:
    """Unpickle what was written, without the tensors' bytes, as resuming will."""
    try:
        torch.load(written, weights_only=True, mmap=True, map_location="meta")
    except pickle.UnpicklingError as error:
        lines = (line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "type" in line)
        found = next((f"`{key}` is of the class {kind}" for key, kind in other_objects(checkpoint)), next(lines, ""))
        raise UserError(
            f"{path}: the checkpoint would hold an object that a safe load rejects: {found}; save tensors, numbers, "
            "strings, lists and dicts only."
        ) from error
