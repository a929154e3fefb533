"""Networks that others trained, made stages of ours."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.transformers_library import transformers_library
from mav_lightning.modules.huggingface_clip import MEAN, STD, HuggingFaceCLIP
from mav_lightning.networks.stored import Card, write_network

__all__ = ["adopt_clip", "adopt_network"]


def adopt_clip(source: str | Path, source_sha256: str, out: Path) -> None:
    """Makes a CLIP in a local folder a trained stage of ours, which needs the folder no more.

    Args:
        source: Folder with ``config.json``, ``model.safetensors`` and the tokenizer's files.
        source_sha256: Of ``model.safetensors``: it names the weights, wherever they lie.
        out: The stage's folder.

    Raises:
        UserError: A file that is missing, other weights than `source_sha256` names, or the extra `clip` is not
            installed.
    """
    source, transformers = Path(source), transformers_library()
    for file in ("config.json", "model.safetensors"):
        if not (source / file).is_file():
            raise UserError(
                f"{source}: no CLIP in Hugging Face's format here, `{file}` is missing; give task.source=DIR, a folder "
                "that `huggingface-cli download` or `save_pretrained` wrote."
            )
    _check_sha256(source / "model.safetensors", source_sha256)
    try:
        model, found = transformers.CLIPModel.from_pretrained(
            source, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{source}: not a readable CLIP ({str(error).splitlines()[0]}).") from error
    if lost := sorted(found["missing_keys"]):
        raise UserError(f"{source}: {len(lost)} weights of the CLIP are missing, first `{lost[0]}`; get it whole.")
    node = {
        "_target_": f"{HuggingFaceCLIP.__module__}.{HuggingFaceCLIP.__name__}",
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        **_normalisation(source),
    }
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    write_network(out, weights, Card.of(node, {"name": source.name}))


def adopt_network(
    net: nn.Module, source: str | Path, source_sha256: str, out: Path, names: Mapping[str, str] | None = None
) -> None:
    """Makes weights that others trained a stage of ours, such as the image network that a video decoder starts from.

    Every weight must find its place, and every place its weight: a network that fits in part would learn from noise
    unseen.

    Args:
        net: The network to fill.
        source: A ``.safetensors`` file.
        source_sha256: Of the file.
        out: The stage's folder.
        names: Regular expression → replacement, applied in order to their names, which gives ours. None where the names
            are ours already.

    Raises:
        UserError: No such file, another one than `source_sha256` names, or weights that do not fit: how many are
            unexpected, missing, or of another shape, and the first of each.
    """
    source = Path(source)
    if not source.is_file():
        raise UserError(f"{source}: no such file; give task.source=FILE, weights as safetensors.")
    _check_sha256(source, source_sha256)
    try:
        stored = load_file(source)
    except SafetensorError as error:
        raise UserError(f"{source}: not a safetensors file ({error}).") from error
    weights: dict[str, Tensor] = {}
    for theirs, value in stored.items():
        ours = _renamed(theirs, names or {})
        if ours in weights:
            raise UserError(
                f"task.names: two weights would be called `{ours}`, one of them `{theirs}`; tell them apart."
            )
        weights[ours] = value
    wanted = net.state_dict()
    common = weights.keys() & wanted.keys()
    problems = {
        "unexpected": weights.keys() - wanted.keys(),
        "missing": wanted.keys() - weights.keys(),
        "of another shape": {name for name in common if weights[name].shape != wanted[name].shape},
    }
    told = [_told(problem, found) for problem, found in problems.items() if found]
    if told:
        raise UserError(
            f"{source}: does not fit the network: {'; '.join(told)}. Mend task.names or the network's sizes."
        )
    write_network(out, weights)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for pattern, replacement in names.items():
        try:
            name = re.sub(pattern, replacement, name)
        except re.error as error:
            raise UserError(f"task.names: `{pattern}` is no regular expression ({error}); mend it.") from error
    return name


def _told(problem: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"{len(ordered)} {problem}, first `{ordered[0]}`"


def _normalisation(source: Path) -> dict[str, list[float]]:
    file = source / "preprocessor_config.json"
    said = json.loads(file.read_text()) if file.is_file() else {}
    return {"mean": list(said.get("image_mean", MEAN)), "std": list(said.get("image_std", STD))}


def _check_sha256(file: Path, sha256: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise UserError(
            f"task.source_sha256: names other weights ({sha256}) than {file} holds; if those are meant, give "
            f"task.source_sha256={found}"
        )
