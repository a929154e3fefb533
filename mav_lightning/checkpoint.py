"""A trained network as a folder: ``weights.safetensors``, and ``network.json``, which says how to build it."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.whole_file import whole_file
from mav_lightning.config import instantiate

__all__ = ["CARD", "WEIGHTS", "copy_network", "load_network", "network_id", "read_card", "write_card", "write_weights"]

WEIGHTS, CARD = "weights.safetensors", "network.json"


def write_card(folder: Path, node: Mapping[str, Any], trained: Mapping[str, Any] | None = None) -> None:
    """Writes beside the weights what they are.

    Args:
        folder: Of the weights.
        node: The resolved ``_target_`` node that builds the network.
        trained: What it was trained for, as far as known: ``name``, ``seed``, ``size``, ``frames``, ``fps`` (lowest and
            highest).
    """
    with whole_file(folder / CARD) as partial:
        partial.write_text(json.dumps({"net": node, "trained": trained or {}}, indent=1))


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes a module's state dict, no two entries sharing memory, as safetensors."""
    with whole_file(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous() for name, value in weights.items()}, partial, {"format": "pt"})


def read_card(folder: str | Path) -> dict[str, Any]:
    """Reads what `write_card` wrote: ``net`` and ``trained``.

    Raises:
        UserError: Not the folder of a trained network.
    """
    folder = Path(folder)
    _require(folder, CARD)
    try:
        card = json.loads((folder / CARD).read_text())
        return {"net": card["net"], "trained": card["trained"]}
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder}: unreadable {CARD} ({error!r}); train the stage again.") from error


def load_network(folder: str | Path) -> nn.Module:
    """Builds the network of a trained stage and loads its weights, stored under the keys of its state dict.

    Raises:
        UserError: Not such a folder, or the weights are another network's.
    """
    folder = Path(folder)
    _require(folder, WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # the weights are replaced: what they began as must move no other draw
        net = instantiate(read_card(folder)["net"])
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise UserError(f"{folder}: unreadable network ({error}); train the stage again.") from error
    wanted = net.state_dict()
    wrong = sorted(name for name in wanted.keys() ^ weights.keys())
    wrong += sorted(name for name in wanted.keys() & weights.keys() if wanted[name].shape != weights[name].shape)
    if wrong:
        raise UserError(
            f"{folder}: the weights are of another network than {CARD} describes ({len(wrong)} differ, first "
            f"`{wrong[0]}`); use the folder as the training wrote it."
        )
    net.load_state_dict(weights)
    return net.eval()


def copy_network(source: Path, target: Path) -> None:
    """Copies a trained network, nothing else of its stage, to the folder `target`."""
    for file in (WEIGHTS, CARD):
        with whole_file(target / file) as partial:
            shutil.copyfile(source / file, partial)


def network_id(folder: Path) -> str:
    """Identifies a trained network by 64 bits of sha256 over its weights and what builds it: 16 hexadecimal digits."""
    node = json.dumps(read_card(folder)["net"], sort_keys=True)
    return hashlib.sha256((folder / WEIGHTS).read_bytes() + node.encode()).hexdigest()[:16]


def _require(folder: Path, file: str) -> None:
    if not (folder / file).is_file():
        raise UserError(f"{folder}: no trained network here, `{file}` is missing; train the stage with `mav train`.")
