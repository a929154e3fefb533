"""Tasks that turn networks trained elsewhere into stages."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.common.transformers_library import transformers_library
from mav_lightning.modules.huggingface_clip import MEAN, STD, HuggingFaceCLIP
from mav_lightning.networks.huggingface_encoder import read_encoder, write_encoder
from mav_lightning.networks.stored import write_network

__all__ = ["AdoptCLIP", "AdoptNetwork"]


@dataclass(frozen=True)
class AdoptCLIP(Task):
    """Turn a CLIP from a local Hugging Face folder into a stage that does not need the folder.

    Attributes:
        source: Folder with ``config.json``, ``model.safetensors`` and the tokenizer's files.
        source_sha256: Hash of ``model.safetensors``, which identifies the weights wherever they are stored.
    """

    source: Path
    source_sha256: str

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Convert the model.

        Args:
            place: Folder for the result.
            seed: Ignored, since nothing is random.
            track: Ignored, since nothing is iterated over.

        Raises:
            UserError: If a file is missing, the hash differs, or the extra `clip` is not installed.
        """
        source = Path(self.source)
        model, tokenizer = _pretrained(source, self.source_sha256)
        write_encoder(place, HuggingFaceCLIP, model, tokenizer, source.name, **_normalization(source))


@dataclass(frozen=True)
class AdoptNetwork(Task):
    """Turn weights trained elsewhere into a stage, for example the image network that a video decoder starts from.

    Every weight must have a counterpart in the network and vice versa.

    Attributes:
        network: The network to fill.
        source: Weights, a ``.safetensors`` file.
        source_sha256: Hash of the file.
        names: Regular expression → replacement, applied in order to the names of the weights. Empty if the names are
            those of the network.
    """

    network: nn.Module
    source: Path
    source_sha256: str
    names: Mapping[str, str] = field(default_factory=dict)

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Rename and write the weights.

        Args:
            place: Folder for the result.
            seed: Ignored, since nothing is random.
            track: Ignored, since nothing is iterated over.

        Raises:
            UserError: If the file is missing, the hash differs, or the weights do not fit: the number of unexpected,
                missing and differently shaped ones, and the first of each.
        """
        source = Path(self.source)
        if not source.is_file():
            raise UserError(f"{source} does not exist; give weights as safetensors.", argument="source")
        _check_sha256(source, self.source_sha256)
        try:
            stored = load_file(source)
        except SafetensorError as error:
            raise UserError(f"{source} is not a safetensors file ({error}).", argument="source") from error
        weights = self._renamed(stored)
        self._check(weights)
        write_network(place, weights)

    def _renamed(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for original, value in stored.items():
            name = original
            for pattern, replacement in self.names.items():
                try:
                    name = re.sub(pattern, replacement, name)
                except re.error as error:
                    raise UserError(
                        f"`{pattern}` is not a valid regular expression ({error}).", argument="names"
                    ) from error
            if name in weights:
                raise UserError(
                    f"two weights would be called `{name}`, one of them `{original}`; keep them apart.",
                    argument="names",
                )
            weights[name] = value
        return weights

    def _check(self, weights: Mapping[str, Tensor]) -> None:
        expected = self.network.state_dict()
        common = weights.keys() & expected.keys()
        problems = {
            "unexpected": weights.keys() - expected.keys(),
            "missing": expected.keys() - weights.keys(),
            "of another shape": {name for name in common if weights[name].shape != expected[name].shape},
        }
        found = [_summary(problem, names) for problem, names in problems.items() if names]
        if found:
            raise UserError(
                f"{self.source} does not fit the network: {'; '.join(found)}. Change `names` or the network's sizes.",
                argument="source",
            )


def _pretrained(source: Path, sha256: str) -> tuple[Any, Any]:
    """Load a CLIP and its tokenizer from a local folder."""
    transformers = transformers_library()
    for file in ("config.json", "model.safetensors"):
        if not (source / file).is_file():
            raise UserError(
                f"{source}: no CLIP in Hugging Face's format here, `{file}` is missing; give a folder that "
                "`huggingface-cli download` or `save_pretrained` wrote.",
                argument="source",
            )
    _check_sha256(source / "model.safetensors", sha256)
    return read_encoder(transformers.CLIPModel, source, transformers.AutoTokenizer, source, "CLIP")


def _summary(problem: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"{len(ordered)} {problem}, first `{ordered[0]}`"


def _normalization(source: Path) -> dict[str, list[float]]:
    file = source / "preprocessor_config.json"
    stored = json.loads(file.read_text()) if file.is_file() else {}
    return {"mean": list(stored.get("image_mean", MEAN)), "std": list(stored.get("image_std", STD))}


def _check_sha256(file: Path, sha256: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise UserError(
            f"the hash is that of other weights ({sha256}) than {file} holds; if those are meant, give "
            f"source_sha256={found}",
            argument="source_sha256",
        )
