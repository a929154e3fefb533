"""Network folders of version 0.1 → today's: the classes, arguments and weights that have other names since."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import check, read_json
from mav_lightning.networks.card import CARD, WEIGHTS, Card, Trained
from mav_lightning.networks.stored import write_network

__all__ = ["convert_network", "is_old"]

_CLASSES = {
    "mav_lightning.nn.unet.SpaceTimeUNet": "SpaceTimeUNet",
    "mav_lightning.nn.prior.PriorTransformer": "PriorTransformer",
    "mav_lightning.nn.ridge.RidgePrior": "RidgePrior",
    "mav_lightning.nn.clip.SmallCLIP": "SmallCLIP",
    "mav_lightning.modules.huggingface.HuggingFaceCLIP": "HuggingFaceCLIP",
    "mav_lightning.diffusion.prior.DiffusionPrior": "DiffusionPrior",
    "mav_lightning.diffusion.denoiser.CleanDenoiser": "X0Denoiser",
    "mav_lightning.baselines.make_a_video_pytorch.SpaceTimeUnet": "MakeAVideoUNet",
    "mav_lightning.baselines.diffusers.UNet3D": "DiffusersUNet",
    **{
        f"mav_lightning.diffusion.denoiser.{name}": name
        for name in ("EDMDenoiser", "EpsDenoiser", "VDenoiser", "HybridDenoiser")
    },
}
_ARGUMENTS = {"SpaceTimeUNet": {"middle": "mid_blocks", "factorised": "factorized"}}
# Class → pattern of a weight's name within it → the name today; applied in order.
_WEIGHTS = {
    "SpaceTimeUNet": {
        r"^noise\.": "noise_embedding.",
        r"^cond\.": "cond_proj.",
        r"^context\.": "context_proj.",
        r"^temporal_fps\.": "fps_embedding.",
        r"^temporal_time\.": "time_proj.",
        r"^mix\.": "emb_mlp.",
        r"^enter\.": "conv_in.",
        r"^leave_norm\.": "norm_out.",
        r"^leave\.": "conv_out.",
        r"^down\.": "down_blocks.",
        r"^middle\.": "mid_blocks.",
        r"^up\.": "up_blocks.",
        r"\.modulate\.": ".emb_proj.",
        r"\.attention\.temporal_position\.": ".attention.time_proj.",
        r"\.spatial\.context\.": ".spatial.context_kv.",
        r"\.(spatial|temporal)\.project\.": r".\1.out_proj.",
    },
    **{
        adapter: {r"^cond\.": "cond_proj.", r"^fps\.": "fps_embedding.", r"^context\.": "context_proj."}
        for adapter in ("DiffusersUNet", "MakeAVideoUNet")
    },
    "PriorTransformer": {
        r"^noise\.": "noise_embedding.",
        r"^(text|image)\.": r"\1_proj.",
        r"^layers\.": "transformer.",
        r"^places$": "positions",
        r"^leave\.": "out_proj.",
    },
    "SmallCLIP": {
        r"^image\.": "image_encoder.",
        r"^text\.": "text_encoder.",
        r"^text_out\.": "text_proj.",
        r"^words\.": "token_embedding.",
        r"^places$": "positions",
        r"^log_scale$": "logit_scale",
    },
}


def is_old(folder: Path) -> bool:
    """Return whether a folder holds a network in the format of version 0.1."""
    if not (folder / CARD).is_file():
        return False
    content = read_json(folder / CARD, dict[str, Any])
    return "net" in content and "format" not in content


def convert_network(source: Path, out: Path) -> None:
    """Write a network of version 0.1 in today's format; its weights' values are the same.

    Args:
        source: Folder with ``network.json`` and ``weights.safetensors`` of version 0.1.
        out: Folder to write to.

    Raises:
        UserError: If the folder does not hold such a network.
    """
    if not is_old(source):
        raise UserError(f"{source}: holds no network in the format of version 0.1; nothing to convert.")
    content = read_json(source / CARD, dict[str, Any])
    network, classes = _described(content["net"], f"{source / CARD}: net")
    trained: Trained = check(content.get("trained") or {}, Trained, f"{source / CARD}: trained")
    try:
        stored = load_file(source / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{source}: {WEIGHTS} cannot be read ({error}).") from error
    if all(name.startswith("net.") for name in stored):  # the module's name for its network
        stored = {name.removeprefix("net."): value for name, value in stored.items()}
    weights = {_renamed(name, classes): value for name, value in stored.items()}
    write_network(out, weights, Card(network, trained))


def _described(node: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """Return the description of a network, and its classes from the outside in."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str) or target not in _CLASSES:
        raise UserError(f"{where}: `{target}` was not a network of version 0.1.")
    name = _CLASSES[target]
    classes = [name]
    described: dict[str, Any] = {"class": name}
    for key, value in node.items():
        if key == "net":
            described[key], inside = _described(value, f"{where}.{key}")
            classes += inside
        elif not key.startswith("_"):
            described[_ARGUMENTS.get(name, {}).get(key, key)] = value
    return described, classes


def _renamed(name: str, classes: list[str]) -> str:
    """Return today's name of a weight: the innermost class has it, behind ``net.`` for each class around it."""
    prefix = "net." * (len(classes) - 1)
    if not name.startswith(prefix):
        return name
    inner = name.removeprefix(prefix)
    for pattern, replacement in _WEIGHTS.get(classes[-1], {}).items():
        inner = re.sub(pattern, replacement, inner)
    return prefix + inner
