"""Networks that others trained, made stages of ours."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from mav_lightning.checkpoint import WEIGHTS, write_card
from mav_lightning.common.errors import UserError
from mav_lightning.modules.huggingface import MEAN, STD, HuggingFaceCLIP, transformers_library

__all__ = ["adopt_clip"]


def adopt_clip(source: str | Path, sha256: str, out: Path) -> None:
    """Makes a CLIP in a local folder a trained stage of ours, which needs the folder no more.

    Args:
        source: Folder with ``config.json``, ``model.safetensors`` and the tokenizer's files.
        sha256: Of ``model.safetensors``: it names the weights, wherever they lie.
        out: The stage's folder.

    Raises:
        UserError: A file that is missing, other weights than `sha256` names, or the extra `clip` is not installed.
    """
    source, transformers = Path(source), transformers_library()
    for file in ("config.json", "model.safetensors"):
        if not (source / file).is_file():
            raise UserError(
                f"{source}: no CLIP in Hugging Face's format here, `{file}` is missing; give task.source=DIR, a folder "
                "that `huggingface-cli download` or `save_pretrained` wrote."
            )
    found = _sha256(source / "model.safetensors")
    if found != sha256:
        raise UserError(
            f"task.sha256: names other weights ({sha256}) than {source / 'model.safetensors'} holds; if those are "
            f"meant, give task.sha256={found}"
        )
    try:
        model = transformers.CLIPModel.from_pretrained(
            source, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: not a readable CLIP ({error}).") from error
    node = {
        "_target_": f"{HuggingFaceCLIP.__module__}.{HuggingFaceCLIP.__name__}",
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        **_normalisation(source),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file({f"net.model.{name}": value.contiguous() for name, value in model.state_dict().items()}, out / WEIGHTS)
    write_card(out, node, {"name": source.name})


def _normalisation(source: Path) -> dict[str, list[float]]:
    file = source / "preprocessor_config.json"
    said = json.loads(file.read_text()) if file.is_file() else {}
    return {"mean": list(said.get("image_mean", MEAN)), "std": list(said.get("image_std", STD))}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
