"""Transformers in Hugging Face format, from a local folder: nothing is downloaded, and no code of the folder runs."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from evaluation.weight_files import check_weights
from mav_lightning.common.errors import UserError
from mav_lightning.common.transformers_library import transformers_library

__all__ = ["load_pretrained", "weights_identity"]

_WEIGHTS = "model.safetensors"


def weights_identity(folder: Path, sha256: str | None = None) -> str:
    """Return a sha256 over configuration and weights of a model.

    Args:
        folder: Folder with ``config.json`` and ``model.safetensors``.
        sha256: Expected sha256 of the weights file. None accepts any.

    Raises:
        UserError: If a file is missing or is not the one pinned.
    """
    found = check_weights(folder / _WEIGHTS, sha256)
    config = check_weights(folder / "config.json")
    return hashlib.sha256(f"{config} {found}".encode()).hexdigest()


def load_pretrained(folder: Path, kinds: Collection[str], classifier: str = "") -> Any:
    """Load a model of transformers in evaluation mode, in float32.

    Args:
        folder: Folder that `save_pretrained` wrote: ``config.json`` and ``model.safetensors``.
        kinds: Model types that are accepted.
        classifier: End of the names of classes that are loaded with their classifier, such as
            ``ForVideoClassification``. Empty loads every model without.

    Raises:
        UserError: If the extra `clip` is not installed, the folder holds another model, or a weight is missing.
    """
    transformers = transformers_library()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **local)
        if config.model_type not in kinds:
            raise UserError(f"{folder}: holds a `{config.model_type}`; provide one of {', '.join(kinds)}.")
        classifies = classifier and any(name.endswith(classifier) for name in config.architectures or ())
        auto = getattr(transformers, f"AutoModel{classifier}") if classifies else transformers.AutoModel
        model, report = auto.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: not a readable {' or '.join(kinds)} ({reason}); download it again.") from error
    # a pooling layer that DINO does not have; its output is not used
    if lost := sorted(name for name in report["missing_keys"] if not name.startswith("pooler.dense.")):
        raise UserError(f"{folder}: {len(lost)} weights are missing, first `{lost[0]}`; download it again.")
    return model.eval().requires_grad_(False)
