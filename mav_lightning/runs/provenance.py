"""Provenance of a result: code, versions and machine. Recorded next to every stage, never part of its id."""

import hashlib
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

from mav_lightning.common.machine import cpu_name, package_version
from mav_lightning.common.whole_file import whole_file

__all__ = ["provenance"]

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "av", "webdataset", "safetensors")


def provenance(patch: Path) -> dict[str, Any]:
    """Return commit, versions and machine, read at each call: a stage imports the code as it is when it starts.

    Args:
        patch: File for the uncommitted changes to tracked files, in the format of ``git apply``; removed if there are
            none. Untracked files are not included.

    Returns:
        ``commit`` (None outside a checkout), ``dirty`` (12 digits of the sha256 of `patch`, None if there is none),
        ``versions`` (package → version), ``python``, ``platform``, ``host`` and ``device`` (the CPU's name; a stage
        that ran elsewhere overrides it in its ``cost.json``).
    """
    commit, changes = _checkout()
    if changes:
        with whole_file(patch) as partial:
            partial.write_bytes(changes)
    else:
        patch.unlink(missing_ok=True)
    return {
        "commit": commit,
        "dirty": hashlib.sha256(changes).hexdigest()[:12] if changes else None,
        "versions": {name: version for name in _PACKAGES if (version := package_version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "device": cpu_name(),
    }


def _checkout() -> tuple[str | None, bytes]:
    """Return the commit, None outside a checkout, and the changes to tracked files."""
    here = Path(__file__)
    # installed untracked into another repository, this package must not report that repository's commit
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None, b""
    commit = _git(here.parent, "rev-parse", "HEAD")
    # the patch must apply whatever colors and viewers the user has set
    changes = _git(here.parent, "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    return commit.decode().strip() if commit else None, changes or b""


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
