"""The description of a trained network: ``network.json``, read and written without its weights.

Light on purpose: the command line reads descriptions before it imports torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.output import FolderContent
from mav_lightning.common.schema import PositiveFloat, PositiveInt, check, read_json
from mav_lightning.common.whole_file import whole_file

__all__ = [
    "CARD", "NETWORK", "SUMS", "WEIGHTS", "Card", "Trained", "network_id", "read_card", "require_file", "write_card",
]  # fmt: skip

WEIGHTS, CARD, SUMS = "weights.safetensors", "network.json", "SHA256SUMS"
NETWORK = FolderContent((WEIGHTS, CARD, SUMS), sign=CARD)


@dataclass(frozen=True)
class Trained:
    """Conditions under which a network was trained, as far as known. The folder claims them; they are not verified.

    Attributes:
        name: Name of the stage. None if unknown.
        seed: Seed of the training. None if unknown.
        size: Side of the frames it was trained on, in pixels. None if unknown.
        frames: Frames of the clips it was trained on. None for networks of images, or if unknown.
        fps: Lowest and highest frame rate it was trained on, frames per second. None if unknown.
        words: Words of the captions it was trained on, in alphabetical order. None if unknown, or if it reads no words.
        conditioned: Whether image embeddings conditioned it. None if unknown, or if it is no denoiser of images.
        vae: Id of the autoencoder whose latents it was trained on. None for pixels.
    """

    name: str | None = None
    seed: int | None = None
    size: PositiveInt | None = None
    frames: PositiveInt | None = None
    fps: tuple[PositiveFloat, PositiveFloat] | None = None
    words: tuple[str, ...] | None = None
    conditioned: bool | None = None
    vae: str | None = None


@dataclass(frozen=True)
class Card:
    """The content of ``network.json``.

    Attributes:
        network: Description of the network, see `describe_network`.
        trained: Conditions of its training.
        weights_sha256: sha256 of ``weights.safetensors``; None while the training goes on.
        format: Version of the format.
    """

    network: dict[str, Any]
    trained: Trained = field(default_factory=Trained)
    weights_sha256: str | None = None
    format: Literal[2] = 2

    @classmethod
    def of(cls, node: Mapping[str, Any], trained: Mapping[str, Any] | None = None) -> "Card":
        """Return the card of a network that a config describes.

        Args:
            node: Resolved config node that builds the network.
            trained: Fields of `Trained`. None if nothing is known.
        """
        from mav_lightning.networks.catalogue import describe_network

        return cls(describe_network(node), check(dict(trained or {}), Trained, "trained"))


def write_card(folder: Path, card: Card) -> None:
    """Write ``network.json`` to a folder, which is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / CARD) as partial:
        partial.write_text(json.dumps(asdict(card), indent=1))


def read_card(folder: str | Path) -> Card:
    """Read ``network.json``.

    Raises:
        UserError: If the folder holds no trained network, or one of the format of earlier versions.
    """
    file = Path(folder) / CARD
    require_file(Path(folder), CARD)
    content = read_json(file, dict[str, Any])
    if content.get("format") != 2 and "net" in content:
        raise UserError(f"{folder}: was written by an earlier version; `mav convert {folder} --out NEW` rewrites it.")
    card: Card = check(content, Card, str(file))
    return card


def network_id(folder: Path) -> str:
    """Return 16 hexadecimal digits that identify a network: sha256 over its description and its weights."""
    card = read_card(folder)
    text = json.dumps(card.network, sort_keys=True) + file_sha256(folder / WEIGHTS)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def require_file(folder: Path, file: str) -> None:
    """Check that a folder holds a file of a trained network.

    Raises:
        UserError: If it does not.
    """
    if not (folder / file).is_file():
        raise UserError(f"{folder}: not a trained network, `{file}` is missing; train the stage with `mav train`.")
