"""Where a result came from: code, versions and machine. Recorded beside every stage, never part of its id."""

import functools
import hashlib
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "av", "webdataset", "safetensors")


@functools.cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine of this process, read once.

    Returns:
        ``commit`` (None outside a checkout), ``dirty`` (12 digits of the sha256 of uncommitted changes to tracked
        files, None where there are none), ``versions`` (package → version), ``python``, ``platform``, ``host`` and
        ``device`` (the CPU's name; a stage that ran elsewhere overrules it in its ``cost.json``).
    """
    return {
        **_checkout(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "device": _cpu_name(),
    }


def _checkout() -> dict[str, str | None]:
    here = Path(__file__)
    # installed into somebody's repository, untracked, we must not borrow its commit
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return {"commit": None, "dirty": None}
    changes = _git(here.parent, "diff", "HEAD")
    return {
        "commit": _git(here.parent, "rev-parse", "HEAD"),
        "dirty": hashlib.sha256(changes.encode()).hexdigest()[:12] if changes else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
