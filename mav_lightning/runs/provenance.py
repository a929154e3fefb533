"""Where a result came from: code, versions and machine. Recorded beside every stage, never part of its id."""

import hashlib
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

from mav_lightning.common.machine import package_version
from mav_lightning.common.whole_file import whole_file

__all__ = ["provenance"]

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "av", "webdataset", "safetensors")


def provenance(patch: Path) -> dict[str, Any]:
    """Commit, versions and machine, read anew at each call: a stage imports the code as it is when it starts.

    Args:
        patch: Gets the uncommitted changes to tracked files, as ``git apply`` takes them; removed where there are none.
            Files that git does not track are not seen.

    Returns:
        ``commit`` (None outside a checkout), ``dirty`` (12 digits of the sha256 of `patch`, None where there is none),
        ``versions`` (package → version), ``python``, ``platform``, ``host`` and ``device`` (the CPU's name; a stage
        that ran elsewhere overrules it in its ``cost.json``).
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
        "device": _cpu_name(),
    }


def _checkout() -> tuple[str | None, bytes]:
    """The commit, None outside a checkout, and how tracked files differ from it."""
    here = Path(__file__)
    # installed into somebody's repository, untracked, we must not borrow its commit
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None, b""
    commit = _git(here.parent, "rev-parse", "HEAD")
    # whatever colours and viewers the user has set, the patch must apply
    changes = _git(here.parent, "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    return commit.decode().strip() if commit else None, changes or b""


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
