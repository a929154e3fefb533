"""Properties of this machine and its environment: memory, device, installed packages."""

import resource
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["default_device", "package_version", "peak_rss_bytes"]


def default_device() -> str:
    """Return ``cuda`` if a GPU is available, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def package_version(package: str) -> str | None:
    """Return the installed version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def peak_rss_bytes() -> int:
    """Return this process's peak resident memory in bytes.

    On Linux it is read from /proc, because getrusage there includes the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
