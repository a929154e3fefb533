"""Tasks that turn networks trained elsewhere into stages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.schema import check, read_json
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.common.transformers_library import transformers_library
from mav_lightning.modules.huggingface_clip import MEAN, STD, HuggingFaceCLIP
from mav_lightning.networks.huggingface_encoder import read_encoder, write_encoder
from mav_lightning.networks.stored import weight_mismatches, write_network

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
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If a file is missing, the hash differs, or the extra `clip` is not installed.
        """
        model, tokenizer = _pretrained(self.source, self.source_sha256)
        write_encoder(place, HuggingFaceCLIP, model, self.source.name, tokenizer, **_normalization(self.source))


@dataclass(frozen=True)
class AdoptNetwork(Task):
    """Turn weights trained elsewhere into a stage, for example the image network that a video decoder starts from.

    Every weight must have a counterpart in the network and vice versa. Weights become those of the network's type, such
    as float32 of float16.

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
        """Rename, convert and write the weights.

        Args:
            place: Folder for the result.
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If the file is missing, the hash differs, or the weights do not fit: the number of unexpected,
                missing, differently shaped and not finite ones, and the first of each.
        """
        if not self.source.is_file():
            raise UserError(f"{self.source} does not exist; give weights as safetensors.", argument="source")
        _check_sha256(self.source, self.source_sha256)
        try:
            stored = load_file(self.source)
        except SafetensorError as error:
            raise UserError(f"{self.source} is not a safetensors file ({error}).", argument="source") from error
        weights, expected = self._renamed(stored), self.network.state_dict()
        self._check(weights, expected)
        write_network(place, {name: value.to(expected[name].dtype) for name, value in weights.items()})

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

    def _check(self, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        found = weight_mismatches(weights, expected)
        if infinite := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
            found.append(f"{len(infinite)} not finite, first `{min(infinite)}`")
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
                f"{source}: not a CLIP in Hugging Face's format, `{file}` is missing; give a folder that "
                "`huggingface-cli download` or `save_pretrained` wrote.",
                argument="source",
            )
    _check_sha256(source / "model.safetensors", sha256)
    return read_encoder(transformers.CLIPModel, source, transformers.AutoTokenizer, source, "CLIP")


def _normalization(source: Path) -> dict[str, list[float]]:
    file = source / "preprocessor_config.json"
    stored = read_json(file, dict[str, Any]) if file.is_file() else {}
    found = {"mean": stored.get("image_mean", list(MEAN)), "std": stored.get("image_std", list(STD))}
    return {name: check(values, list[float], f"{file}: image_{name}") for name, values in found.items()}


def _check_sha256(file: Path, sha256: str) -> None:
    if (found := file_sha256(file)) != sha256:
        raise UserError(
            f"the weights in {file} have another hash than {sha256}; if they are the intended ones, give "
            f"source_sha256={found}",
            argument="source_sha256",
        )
