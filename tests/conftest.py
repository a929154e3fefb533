"""Shared set-up: torchvision's operators declared before anything imports lightning, one thread per process, dolls."""

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent / part) for part in ("", "evaluation")]  # for what tests share

from doll_cascade import NODES, SAMPLING, TEXT  # noqa: E402

from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline  # noqa: E402
from mav_lightning.cascade.sampling import Sampling  # noqa: E402
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports  # noqa: E402
from mav_lightning.config import instantiate  # noqa: E402
from mav_lightning.networks.card import Card  # noqa: E402
from mav_lightning.networks.stored import write_network  # noqa: E402

ensure_torchvision_imports()
torch.set_num_threads(1)


C_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None
M_MMAP_THRESHOLD = -3  # of malloc.h
# By default, glibc raises the size from which an allocation has pages of its own, which go back to the system at once,
# to 32 MB as large ones are freed: weights of one test then stay in the process, below what later tests allocate.
if mallopt := getattr(C_LIBRARY, "mallopt", None):  # absent in musl
    mallopt(M_MMAP_THRESHOLD, 1 << 22)


def return_memory() -> None:
    """Return the pages that hold nothing to the system, as several test processes share the memory of a machine."""
    if trim := getattr(C_LIBRARY, "malloc_trim", None):
        trim(0)


def resident() -> int:
    """Return the bytes that this process has in memory; 0 if the system does not report it."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * resource.getpagesize() if statistics.exists() else 0


@pytest.fixture(autouse=True)
def memory_returned() -> Iterator[None]:
    """Return the memory of a test that left much of it."""
    before = resident()
    yield
    if resident() > before + (32 << 20):
        return_memory()


@pytest.fixture(scope="module", autouse=True)
def caches_emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty what a file of tests has cached, and return its memory."""
    yield
    for value in vars(request.module).values():
        if getattr(value, "__module__", None) == request.module.__name__ and hasattr(value, "cache_clear"):
            value.cache_clear()
    gc.collect()
    return_memory()


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained networks as stages leave them, their weights random but not zero."""
    torch.manual_seed(0)
    folders = {}
    for role, node in NODES.items():
        folders[role] = tmp_path_factory.mktemp(role)
        weights = {name: torch.randn_like(value) * 0.2 for name, value in instantiate(node).state_dict().items()}
        write_network(folders[role], weights, Card.of(node))
    return folders


@pytest.fixture(scope="session")
def text_pipeline(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline")
    write_pipeline(path, SAMPLING, NetworkFolders(**{role: stages[role] for role in TEXT}))
    return path


@pytest.fixture(scope="session")
def cascade_folder(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages: 5 frames become 9, 8 pixels become 16 and 32."""
    path = tmp_path_factory.mktemp("cascade")
    sampling = Sampling(size=8, frames=5, skip=2, low_factor=2, high_factor=2, chunk=4, steps=3, batch_size=2)
    write_pipeline(path, sampling, NetworkFolders(**stages))
    return path
