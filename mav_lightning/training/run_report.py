"""Facts about a training and its checkpoints, for people: what is there, and whether it is intact."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.networks.card import CARD, WEIGHTS, read_card
from mav_lightning.networks.checkpoint_parts import checkpoint_files
from mav_lightning.networks.checkpoint_reader import read_checkpoint
from mav_lightning.training.checkpoint_io import checkpoints, is_intact
from mav_lightning.training.ema import saved_ema
from mav_lightning.training.run_record import RunRecord, read_run

__all__ = ["FileCheck", "describe_checkpoint", "describe_run", "verify"]


@dataclass(frozen=True)
class FileCheck:
    """Result of the verification of one file.

    Attributes:
        file: The file.
        problem: Description of the damage. None if the file is intact.
    """

    file: Path
    problem: str | None


def describe_run(run: Path) -> tuple[RunRecord | None, list[dict[str, str]]]:
    """Return the record of a training, None without one, and facts about its checkpoints, newest first.

    Raises:
        UserError: If the folder holds no training, or its record is damaged.
    """
    record, found = read_run(run), checkpoints(run / "checkpoints")
    if record is None and not found:
        raise UserError(
            f"{run}: not the folder of a training; give a folder that `mav train` wrote, or a checkpoint in it."
        )
    return record, [_facts(path) for path in found]


def describe_checkpoint(file: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises:
        UserError: If it cannot be read safely.
    """
    checkpoint = read_checkpoint(file)
    callbacks = checkpoint.get("callbacks") or {}
    ema = saved_ema(checkpoint)
    return {
        **_facts(file),
        "optimizer steps": checkpoint.get("global_step"),
        "weights": f"{sum(value.numel() for value in checkpoint['state_dict'].values()):,}",
        "finite": all(_is_finite(value) for value in checkpoint["state_dict"].values()),
        "averaged over": "no average" if ema is None else f"{ema.get('updates')} steps",
        "network": (checkpoint.get("network") or {}).get("class", "not described"),
        "lightning": checkpoint.get("pytorch-lightning_version"),
        "run": callbacks.get("Checkpointer", {}).get("run", {}),
    }


def verify(path: Path) -> Iterator[FileCheck]:
    """Verify a training or one checkpoint: checksums, that checkpoints can be read safely, and finite weights.

    Args:
        path: Folder of a training, or a checkpoint.

    Raises:
        UserError: If there is neither.
    """
    if path.is_file():
        yield FileCheck(path, _checkpoint_problem(path))
        return
    record, _ = describe_run(path)
    for file in checkpoints(path / "checkpoints"):
        yield FileCheck(file, _checkpoint_problem(file))
    known = dict(record.artifacts) if record else {}
    if WEIGHTS not in known and (path / CARD).is_file() and (card := read_card(path)).weights_sha256:
        known[WEIGHTS] = card.weights_sha256
    for name, sha256 in known.items():
        yield FileCheck(path / name, _artifact_problem(path / name, sha256))


def _facts(file: Path) -> dict[str, str]:
    parts = [part.stat() for part in checkpoint_files(file)]
    saved = datetime.fromtimestamp(max(part.st_mtime for part in parts), UTC)
    return {
        "file": file.name,
        "size": f"{sum(part.st_size for part in parts) / 1e6:.1f} MB",
        "saved": saved.isoformat(sep=" ", timespec="seconds"),
        "checksum": "intact" if is_intact(file) else "does not match or is missing",
    }


def _checkpoint_problem(file: Path) -> str | None:
    if not is_intact(file):
        return "does not match its checksum, or has none"
    try:
        weights = read_checkpoint(file)["state_dict"]
    except UserError as error:
        return str(error)
    bad = [name for name, value in weights.items() if not _is_finite(value)]
    return f"weight `{bad[0]}` is not finite" if bad else None


def _artifact_problem(file: Path, sha256: str) -> str | None:
    if not file.is_file():
        return "is missing"
    return None if file_sha256(file) == sha256 else "does not match its recorded sha256"


def _is_finite(value: Tensor) -> bool:
    return math.prod(value.shape) == 0 or not value.is_floating_point() or bool(torch.isfinite(value).all())
