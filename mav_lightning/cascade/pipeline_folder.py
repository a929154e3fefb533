"""Pipelines on disk: a folder of networks and one ``pipeline.json``, which needs nothing else of their trainings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.stages import OPTIONAL, ROLES, Stages
from mav_lightning.common.errors import UserError
from mav_lightning.common.whole_file import whole_file
from mav_lightning.networks.stored import copy_network, load_network, network_id, read_card

__all__ = ["READY_MADE", "StoredPipeline", "copy_pipeline", "read_pipeline", "write_pipeline"]

CONFIG = "pipeline.json"
READY_MADE = Path(__file__).parents[1] / "weights" / "tiny"  # trained by recipe/tiny.yaml; see its README.md


@dataclass(frozen=True)
class StoredPipeline:
    """What a pipeline's folder holds.

    Attributes:
        networks: Role → network.
        sampling: Fields of `Sampling`.
        checkpoints: Role → id of the network.
        trained_fps: Role → the lowest and the highest frame rate it was trained for, where known.
    """

    networks: dict[str, nn.Module]
    sampling: dict[str, Any]
    checkpoints: dict[str, str]
    trained_fps: dict[str, tuple[float, float]]


def read_pipeline(folder: Path) -> StoredPipeline:
    """Reads what `write_pipeline` wrote.

    Raises:
        UserError: Not a pipeline folder, or a network in it that does not load.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder}: no pipeline here, `{CONFIG}` is missing; `mav demo` writes one, and `mav pipeline` makes one "
            "of trained stages."
        )
    stored = json.loads((folder / CONFIG).read_text())
    roles = [*ROLES, *(role for role in OPTIONAL if role in stored["checkpoints"])]
    trained = {role: read_card(folder / role).trained.fps for role in roles}
    return StoredPipeline(
        {role: load_network(folder / role) for role in roles},
        stored["sampling"],
        stored["checkpoints"],
        {role: fps for role, fps in trained.items() if fps is not None},
    )


def write_pipeline(out: Path, sampling: Sampling, networks: Mapping[str, str | Path]) -> None:
    """Copies the networks of trained stages into a pipeline folder; ``pipeline.json`` comes last.

    Args:
        out: The pipeline's folder. One that is there already stops being one until the new one is whole.
        sampling: How its clips are drawn.
        networks: Role → folder of the trained network.

    Raises:
        UserError: A network that does not load, was trained for frames of another size, or that `sampling` asks for and
            nobody gave; nothing is written.
    """
    folders = {role: Path(folder) for role, folder in networks.items()}
    Stages({role: load_network(folder) for role, folder in folders.items()}, sampling)
    for role in folders.keys() & {"decoder", "interpolator"}:
        size = read_card(folders[role]).trained.size or sampling.size
        if size != sampling.size:
            raise UserError(
                f"{folders[role]}: draws frames of {size} pixels, and the pipeline's have {sampling.size}; take a "
                f"network of the same scale, or give --size {size}."
            )
    (out / CONFIG).unlink(missing_ok=True)
    for role, folder in folders.items():
        copy_network(folder, out / role)
    checkpoints = {role: network_id(folder) for role, folder in folders.items()}
    content = {"version": 1, "sampling": asdict(sampling), "checkpoints": checkpoints}
    with whole_file(out / CONFIG) as partial:
        partial.write_text(json.dumps(content, indent=1))


def copy_pipeline(source: Path, out: Path) -> None:
    """Copies a pipeline.

    Raises:
        UserError: As `read_pipeline`.
    """
    stored = read_pipeline(source)
    write_pipeline(out, Sampling(**stored.sampling), {role: source / role for role in stored.networks})
