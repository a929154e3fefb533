"""Properties of this machine and its environment: memory, device, installed packages."""

import os
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path

__all__ = [
    "SPINS",
    "cpu_name",
    "default_device",
    "limit_busy_waiting",
    "machine_identity",
    "package_version",
    "peak_rss_bytes",
]

# A compromise between an idle machine, on which more are hardly faster, and a shared one: benchmarks/contention.py.
SPINS = "5000"


def cpu_name() -> str:
    """Return the model name of the processor, or its architecture if the name is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def default_device() -> str:
    """Return ``cuda`` if a GPU is available, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def limit_busy_waiting() -> None:
    """Let PyTorch's CPU threads sleep sooner while they wait for each other. Call it before PyTorch is imported.

    By default GNU OpenMP's threads check 300,000 times before they sleep. If other programs use the cores, they check
    instead of letting the thread run that they wait for, and small networks become more than ten times slower.
    ``GOMP_SPINCOUNT`` and ``OMP_WAIT_POLICY`` of the user's environment are kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def machine_identity(device: str) -> dict[str, str | int]:
    """Return the properties of the machine that determine the bits of a result: processor, threads, version of PyTorch.

    Args:
        device: Device that computes: ``cpu``, ``cuda`` or ``cuda:N``. With a GPU the number of threads does not count.
    """
    import torch

    version = {"torch": str(torch.__version__)}
    if device.startswith("cuda"):
        return {"processor": torch.cuda.get_device_name(device), **version}
    return {"processor": cpu_name(), "threads": torch.get_num_threads(), **version}


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
