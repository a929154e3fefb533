"""Networks that were extended by time, back in the format of diffusers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mav_lightning.common.diffusers_library import diffusers_version
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import FolderContent
from mav_lightning.common.whole_file import new_folder
from mav_lightning.diffusion.denoiser import HybridDenoiser, NetDenoiser, VDenoiser, X0Denoiser
from mav_lightning.networks.card import Card, read_card
from mav_lightning.networks.stored import load_network
from mav_lightning.pretrained.diffusers_folder import CONFIG, MODEL_WEIGHTS
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.lora import LowRankLinear

__all__ = ["TEMPORAL", "export_diffusers"]

TEMPORAL = "temporal.safetensors"
_CONTENT = FolderContent(
    (
        *(f"{part}/{file}" for part in ("unet", "text_proj", "image_normalizer") for file in (CONFIG, MODEL_WEIGHTS)),
        *(f"{part}/scheduler_config.json" for part in ("scheduler", "image_noising_scheduler")),
        "model_index.json",
        "README.md",
        TEMPORAL,
    ),
    sign=TEMPORAL,
)


def export_diffusers(network: Path, out: Path, overwrite: bool = False) -> None:
    """Write a network as a folder that diffusers loads as the image network that it extends.

    The parts ``unet``, ``scheduler`` and, for unCLIP, ``text_proj`` or ``image_normalizer`` and
    ``image_noising_scheduler`` are in the format of diffusers, with low-rank adapters merged. All other weights, those
    of temporal layers first of all, are in ``temporal.safetensors``. ``stage/grow_diffusers.yaml`` with
    ``task.source=OUT/unet task.temporal=OUT/temporal.safetensors`` reads both.

    Args:
        network: Folder of a trained network that `GrownUNet` describes.
        out: Folder that does not exist yet or is empty.
        overwrite: Replace an export that `out` holds.

    Raises:
        UserError: If the network is of another kind, or `out` is not empty.
    """
    card, denoiser = read_card(network), load_network(network)
    if not isinstance(denoiser, NetDenoiser) or not isinstance(denoiser.net, GrownUNet):
        raise UserError(
            f"{network}: was not extended from a network of diffusers, so it has no form there; export it without "
            "--format diffusers."
        )
    net, described = denoiser.net, card.network["net"]
    source, rest = _divided(net)
    with new_folder(out, _CONTENT if overwrite else None) as folder:
        _write_part(folder / "unet", described["kind"], described["config"], source)
        parts = {
            "unet": described["kind"],
            "scheduler": "DDPMScheduler",
            **_write_conditioning(folder, described, rest),
        }
        save_file(rest, folder / TEMPORAL, {"format": "pt"})
        _write_json(folder / "scheduler" / "scheduler_config.json", _scheduler(denoiser, described["schedule"]))
        libraries = {name: ["diffusers", kind] for name, kind in parts.items()}
        pipeline = "DDPMPipeline" if described["kind"] == "UNet2DModel" else "DiffusionPipeline"
        _write_json(
            folder / "model_index.json",
            {"_class_name": pipeline, "_diffusers_version": diffusers_version(), **libraries},
        )
        (folder / "README.md").write_text(_model_card(card, described))


def _write_conditioning(folder: Path, described: Mapping[str, Any], rest: dict[str, Tensor]) -> dict[str, str]:
    """Write the parts that condition an unCLIP network, and remove their weights from `rest`; return their classes."""
    parts = {}
    if described.get("text_proj"):
        prefix = "conditioning.text_proj."
        own = {name.removeprefix(prefix): rest.pop(name) for name in list(rest) if name.startswith(prefix)}
        parts["text_proj"] = "UnCLIPTextProjModel"
        _write_part(folder / "text_proj", parts["text_proj"], described["text_proj"], own)
    if described.get("image_noising"):
        parts |= {"image_normalizer": "StableUnCLIPImageNormalizer", "image_noising_scheduler": "DDPMScheduler"}
        own = {name: rest.pop(f"conditioning.embedding_{name}")[None] for name in ("mean", "std")}
        length = {"embedding_dim": own["mean"].shape[1]}
        _write_part(folder / "image_normalizer", parts["image_normalizer"], length, own)
        noising = {"_class_name": parts["image_noising_scheduler"], **described["image_noising"]}
        _write_json(folder / "image_noising_scheduler" / "scheduler_config.json", noising)
    return parts


@torch.no_grad()
def _divided(net: GrownUNet) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the image network under the source's names, and all others but adapters."""
    state, names = net.state_dict(), net.source_names()
    source = {theirs: state[ours].contiguous() for ours, theirs in names.items()}
    for name, module in net.named_modules():
        if isinstance(module, LowRankLinear):
            source[names[f"{name}.spatial.weight"]] = module.merged().contiguous()
    rest = state.keys() - names.keys() - net.adapter_parameters().keys()
    return source, {name: state[name].contiguous() for name in sorted(rest)}


def _write_part(folder: Path, kind: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    plain = {key: value for key, value in config.items() if not key.startswith("_")}
    _write_json(folder / CONFIG, {"_class_name": kind, "_diffusers_version": diffusers_version(), **plain})
    save_file(dict(weights), folder / MODEL_WEIGHTS, {"format": "pt"})


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def _scheduler(denoiser: NetDenoiser, schedule: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {VDenoiser: "v_prediction", X0Denoiser: "sample"}
    learned = isinstance(denoiser, HybridDenoiser)
    return {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": diffusers_version(),
        **schedule,
        "prediction_type": kinds.get(type(denoiser), "epsilon"),
        "variance_type": "learned_range" if learned else "fixed_small",
    }


def _model_card(card: Card, described: Mapping[str, Any]) -> str:
    trained = card.trained
    facts = {
        "stage": trained.name,
        "seed": trained.seed,
        "frames": trained.frames,
        "pixels": trained.size,
        "frame rates": None if trained.fps is None else f"{trained.fps[0]:g} to {trained.fps[1]:g} per second",
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items() if value is not None)
    return (
        "---\nlibrary_name: diffusers\nlicense: other\ntags: [text-to-video, make-a-video]\n---\n\n"
        f"# A {described['kind']} extended by time\n\n"
        "`unet` is the image network and loads with diffusers alone. `temporal.safetensors` holds the temporal layers, "
        "which [mav-lightning](https://arxiv.org/abs/2209.14792) adds.\n\n"
        f"| trained | |\n|---|---|\n{rows}\n"
        "**License.** That of the image model these weights started from: name it here before you share them.\n\n"
        "**Training data.** Name the clips and images that the temporal layers were trained on.\n\n"
        "**Limits and marking.** The network repeats the biases of both trainings. Clips that mav-lightning writes "
        "carry a visible mark and say in their metadata that they are generated.\n"
    )
