"""Strict reader of model folders in the format of diffusers: JSON and safetensors, no pickle, no code, no network.

The library's own ``from_pretrained`` fills missing weights with random ones and drops unknown ones with a warning; here
either is an error.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.schema import read_json
from mav_lightning.networks.stored import weight_mismatches

__all__ = [
    "CONFIG", "MODEL_WEIGHTS", "Part", "check_pipeline", "check_sha256", "demand_same_weights", "files_sha256",
    "find_scheduler", "pipeline_of", "read_part", "read_scheduler", "read_weights", "sibling", "weights_file",
]  # fmt: skip

CONFIG, MODEL_WEIGHTS, INDEX = "config.json", "diffusion_pytorch_model.safetensors", "model_index.json"
_LIBRARIES = frozenset({"diffusers", "transformers", "unclip", "stable_diffusion"})  # as diffusers names its own parts
# Attention of folders written before diffusers 0.18.
_RENAMED = {r"\.query\.": ".to_q.", r"\.key\.": ".to_k.", r"\.value\.": ".to_v.", r"\.proj_attn\.": ".to_out.0."}


@dataclass(frozen=True)
class Part:
    """A model of a folder, or one of a pipeline's.

    Attributes:
        kind: Name of its class in diffusers.
        config: Arguments of the class, and ``_diffusers_version`` if it is recorded.
        weights: State dict, floating-point values as float32.
        files: The files that were read.
    """

    kind: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    files: tuple[Path, ...]

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class."""
        return {key: value for key, value in self.config.items() if not key.startswith("_")}

    @property
    def size(self) -> int | None:
        """Height and width of the images that it was trained on. None if they are not recorded as one number."""
        size = self.config.get("sample_size")
        return size if isinstance(size, int) else None


def read_part(folder: Path, kinds: Iterable[str]) -> Part:
    """Read the folder of a model.

    Args:
        folder: Folder that ``save_pretrained`` of a model wrote, for example ``karlo/decoder``.
        kinds: Classes that are accepted.

    Raises:
        UserError: If the folder is no such model, asks for code, holds pickles, or its weights cannot be read.
    """
    kinds = list(kinds)
    stored = _read_config(folder, kinds)
    kind = stored.get("_class_name")
    if kind not in kinds:
        raise UserError(f"{folder}: holds a {kind}; expected {' or '.join(kinds)}.", argument="source")
    if "auto_map" in stored:
        raise UserError(
            f"{folder}: `auto_map` in {CONFIG} asks for code from the model's repository, which is never run; give a "
            "model of a class that diffusers itself has.",
            argument="source",
        )
    config = {key: value for key, value in stored.items() if not key.startswith("_") or key == "_diffusers_version"}
    file = weights_file(folder)
    return Part(str(kind), config, read_weights(file), (folder / CONFIG, file))


def check_pipeline(source: Path, kind: str, parts: Mapping[str, str | None]) -> None:
    """Check that a folder is a complete pipeline of diffusers, of classes that the libraries themselves have.

    Args:
        source: Folder that ``save_pretrained`` of a pipeline wrote.
        kind: Class of the pipeline.
        parts: Part → its class; None for any class.

    Raises:
        UserError: If it is not, or a part is missing or of another class.
    """
    if not source.is_dir():
        raise UserError(
            f"{source}: no such folder; give one that `save_pretrained` of diffusers wrote.", argument="source"
        )
    if not (source / INDEX).is_file():
        raise UserError(f"{source}: not a diffusers pipeline, `{INDEX}` is missing.", argument="source")
    index = read_json(source / INDEX, dict[str, Any])
    if (found := index.get("_class_name")) != kind:
        code = " of code in its own folder, which is never run" if isinstance(found, list) else ""
        article = "an" if kind.startswith("U") else "a"
        raise UserError(f"{source}: holds a {found}{code}; expected {article} {kind}.", argument="source")
    for part, needed in parts.items():
        found = index.get(part)
        if not (isinstance(found, list) and len(found) == 2) or None in found or not (source / part).is_dir():
            raise UserError(f"{source}: the part `{part}` is missing; use a complete copy.", argument="source")
        library, name = map(str, found)
        if library not in _LIBRARIES or needed not in (None, name.removesuffix("Fast")):
            raise UserError(
                f"{source}: `{part}` is a {name} of {library}, whose code is not run; expected "
                f"{f'the {needed}' if needed else 'a class'} of diffusers or transformers.",
                argument="source",
            )


def pipeline_of(folder: Path) -> Path | None:
    """Return the pipeline's folder that a model's folder is part of. None if it stands alone."""
    parent = folder.resolve().parent
    return parent if (parent / INDEX).is_file() else None


def sibling(folder: Path, name: str) -> Path:
    """Return another part of the pipeline that a model's folder is part of.

    Raises:
        UserError: If the folder is not part of a pipeline, or the pipeline lacks that part.
    """
    pipeline = pipeline_of(folder)
    if pipeline is None or not (pipeline / name).is_dir():
        raise UserError(
            f"{folder}: needs the part `{name}` of its pipeline, which is not stored next to it; give the folder "
            "inside a complete copy of the pipeline.",
            argument="source",
        )
    return pipeline / name


def find_scheduler(folder: Path) -> Path:
    """Return the scheduler's config that belongs to a model: in its own folder, or in that of its pipeline.

    Raises:
        UserError: If there is none.
    """
    file, pipeline = "scheduler_config.json", pipeline_of(folder)
    names = [f"{folder.name}_scheduler", f"{folder.name.rpartition('_')[0]}_scheduler", "scheduler"]
    found = [folder / file, *(pipeline / name / file for name in names if pipeline)]
    for one in found:
        if one.is_file():
            return one
    raise UserError(
        f"{folder}: the noise levels of its training are unknown, as there is no {file}; give the scheduler's, such as "
        "task.scheduler=PIPELINE/scheduler/scheduler_config.json",
        argument="scheduler",
    )


def read_scheduler(file: Path) -> dict[str, Any]:
    """Read a ``scheduler_config.json``; what the UnCLIPScheduler has as its only choice is filled in.

    Raises:
        UserError: If the file cannot be read.
    """
    found: dict[str, Any] = read_json(file, dict[str, Any])
    unclip = {"beta_schedule": "squaredcos_cap_v2"} if found.get("_class_name") == "UnCLIPScheduler" else {}
    return {**unclip, **found}


def files_sha256(files: Iterable[Path]) -> str:
    """Compute one sha256 over the contents of several files, their names and the names of their folders."""
    lines = sorted(f"{file.resolve().parent.name}/{file.name} {file_sha256(file)}\n" for file in set(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_sha256(files: Iterable[Path], expected: str, source: Path) -> None:
    """Check the hash of several files; see `files_sha256`.

    Args:
        files: The files.
        expected: The hash.
        source: Folder of the model that they belong to, for the message.

    Raises:
        UserError: With the hash that was found, if it is another one.
    """
    if (found := files_sha256(files)) != expected:
        raise UserError(
            f"the files in {source} have another hash than {expected}; if they are the intended ones, give "
            f"source_sha256={found}",
            argument="source_sha256",
        )


def _read_config(folder: Path, kinds: list[str]) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; give one that `save_pretrained` of diffusers wrote.", argument="source"
        )
    if (folder / CONFIG).is_file():
        config: dict[str, Any] = read_json(folder / CONFIG, dict[str, Any])
        return config
    if (folder / INDEX).is_file():
        parts = [
            one.parent.name
            for one in sorted(folder.glob(f"*/{CONFIG}"))
            if read_json(one, dict[str, Any]).get("_class_name") in kinds
        ]
        raise UserError(
            f"{folder}: is a whole pipeline; give one of its models: {', '.join(parts) or 'it has none that fits'}.",
            argument="source",
        )
    raise UserError(f"{folder}: not a diffusers model, `{CONFIG}` is missing.", argument="source")


def weights_file(folder: Path, name: str = MODEL_WEIGHTS) -> Path:
    """Return the file of a model's weights.

    Args:
        folder: The model's folder.
        name: Name of the file.

    Raises:
        UserError: If it is missing, with what is there in its place.
    """
    if (file := folder / name).is_file():
        return file
    names = {one.name for one in folder.iterdir()}
    if any(one.endswith(".safetensors.index.json") for one in names):
        problem = "its weights are divided among several files; save it again with a larger `max_shard_size`"
    elif variants := sorted(one for one in names if one.endswith(".safetensors")):
        problem = f"it has {variants[0]} instead; rename that file"
    elif any(one.endswith((".bin", ".ckpt", ".pt", ".pth")) for one in names):
        problem = "its weights are pickles, which can run code and are never read; convert them with safetensors"
    else:
        problem = "copy the folder again"
    raise UserError(f"{folder}: {name} is missing; {problem}.", argument="source")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read a file of weights: safetensors with finite values, of which floating-point ones become float32.

    Raises:
        UserError: If the file cannot be read, or a value is not finite.
    """
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error}); copy the file again.", argument="source") from error
    weights = {_renamed(name): value.float() if value.is_floating_point() else value for name, value in stored.items()}
    for name, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"{file}: weight `{name}` is not finite; the network cannot be used.", argument="source")
    return weights


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name


def demand_same_weights(where: Path, found: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> None:
    """Check that weights are exactly those of a network.

    Args:
        where: Folder, for messages.
        found: Name → weight, as read.
        needed: Name → weight of the network that the config describes.

    Raises:
        UserError: With the number of missing, unexpected and differently shaped weights, and the first of each.
    """
    if listed := "; ".join(weight_mismatches(found, needed)):
        raise UserError(
            f"{where}: the weights are not those of the network that is described: {listed}; use a complete copy, of "
            "one version.",
            argument="source",
        )
