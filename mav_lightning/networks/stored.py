"""A trained network as a folder: ``weights.safetensors``, and ``network.json``, which describes the network.

Whoever reads such a folder trusts nothing in it: the description builds classes of a closed catalogue only, and the
weights must have the recorded sha256, the names, shapes and types of that network, and finite values.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.whole_file import whole_file
from mav_lightning.networks.card import CARD, WEIGHTS, Card, read_card, require_file, write_card
from mav_lightning.networks.catalogue import build_network
from mav_lightning.nn.initialization import without_draws

__all__ = ["copy_network", "load_network", "write_network"]


def write_network(
    folder: Path, weights: Mapping[str, Tensor], card: Card | None = None, trained: Mapping[str, Any] | None = None
) -> None:
    """Write weights, then the card with their hash.

    Args:
        folder: Folder of the network.
        weights: State dict of the network, no two entries sharing memory.
        card: Describes the network. None takes the card that is already there; without one, as after a training that
            no config describes, only the weights are written.
        trained: Fields of `Trained` that are known only after training. None for no changes.
    """
    if card is None and (folder / CARD).is_file():
        card = read_card(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous() for name, value in weights.items()}, partial, {"format": "pt"})
    if card is not None:
        facts = replace(card.trained, **(trained or {}))
        write_card(folder, replace(card, trained=facts, weights_sha256=file_sha256(folder / WEIGHTS)))


def load_network(folder: str | Path) -> nn.Module:
    """Build the network stored in a folder and load its weights, in evaluation mode.

    Raises:
        UserError: If the folder holds no trained network, the description is not in the catalogue, or the weights are
            not those recorded, are another network's, or are not finite.
    """
    folder = Path(folder)
    require_file(folder, WEIGHTS)
    card = read_card(folder)
    stored = _verified(folder, card)
    where = f"{folder / CARD}: network"
    with torch.random.fork_rng(devices=[]), without_draws():  # whatever is drawn all the same moves no other draw
        with torch.device("meta"):  # compared before memory is taken
            _demand_same(folder, build_network(card.network, where).state_dict(), stored)
        network = build_network(card.network, where)
    network.load_state_dict(stored)
    return network.eval()


def copy_network(source: Path, target: Path) -> None:
    """Copy a trained network, and nothing else of its training, to the folder `target`.

    Raises:
        UserError: If the weights are not those recorded.
    """
    _demand_recorded(source, read_card(source))
    for file in (WEIGHTS, CARD):
        with whole_file(target / file) as partial:
            shutil.copyfile(source / file, partial)


def _verified(folder: Path, card: Card) -> dict[str, Tensor]:
    """Return the weights after comparing their hash and checking that all values are finite."""
    _demand_recorded(folder, card)
    try:
        stored = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder}: {WEIGHTS} cannot be read ({error}); copy the folder again.") from error
    for name, value in stored.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(f"{folder}: weight `{name}` is not finite; the network cannot be used.")
    return stored


def _demand_recorded(folder: Path, card: Card) -> None:
    """Demand the weights that ``network.json`` records."""
    if card.weights_sha256 is None:
        raise UserError(
            f"{folder}: the training is not finished; `mav checkpoint export` writes the network of its last "
            "checkpoint."
        )
    if (found := file_sha256(folder / WEIGHTS)) != card.weights_sha256:
        raise UserError(
            f"{folder}: {WEIGHTS} has sha256 {found[:16]}…, and {CARD} records {card.weights_sha256[:16]}…; the file "
            "is damaged or another network's: copy the folder again."
        )


def _demand_same(folder: Path, network: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    wrong = sorted(network.keys() ^ stored.keys())
    wrong += [
        name
        for name in sorted(network.keys() & stored.keys())
        if (network[name].shape, network[name].dtype) != (stored[name].shape, stored[name].dtype)
    ]
    if wrong:
        raise UserError(
            f"{folder}: the weights are not those of the network that {CARD} describes ({len(wrong)} differ in name, "
            f"shape or type, first `{wrong[0]}`); use the folder as the training wrote it."
        )
