"""Shared set-up: torchvision's operators declared before anything imports lightning, one thread per process, dolls."""

import ctypes
import gc
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


@pytest.fixture(scope="module", autouse=True)
def memory_returned() -> Iterator[None]:
    """Return what a file of tests has freed to the system, as several test processes share the memory of a machine."""
    yield
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # absent in musl
        trim(0)


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
