"""The task that turns an image network of diffusers into a space-time network of this project."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mav_lightning.certificate import TOLERANCE, Certificate, certify_frames
from mav_lightning.common.diffusers_library import diffusers_version
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import read_json
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.diffusion.denoiser import EpsDenoiser, HybridDenoiser, NetDenoiser, VDenoiser, X0Denoiser
from mav_lightning.networks.card import Card
from mav_lightning.networks.stored import write_network
from mav_lightning.pretrained.diffusers_folder import (
    Part,
    demand_same_weights,
    files_sha256,
    find_scheduler,
    read_part,
    read_weights,
    sibling,
)
from mav_lightning.pretrained.empty_caption import caption_files, caption_length, encode_caption
from mav_lightning.pretrained.grown_conditioning import UnclipConditioning
from mav_lightning.pretrained.grown_unet import GrownUNet, check_unet_config
from mav_lightning.pretrained.timesteps import NoiseSchedule

__all__ = ["GROWN", "GrowDiffusers"]

GROWN = "grown.json"
_DENOISERS: dict[str, type[NetDenoiser]] = {"epsilon": EpsDenoiser, "v_prediction": VDenoiser, "sample": X0Denoiser}


@dataclass(frozen=True)
class GrowDiffusers(Task):
    """Extend an image network of diffusers by time, and check that a clip equals its frames.

    The result is a trained network like any other, and ``grown.json``: which layers are followed by a temporal one,
    which are not and why, which weights are new, and the certificate.

    Attributes:
        source: Folder of a ``UNet2DModel`` or ``UNet2DConditionModel``, for example ``karlo/decoder``. The other parts
            of its pipeline that it needs are read from the folders next to it.
        source_sha256: Hash of all files that are read, which identifies the network wherever they are stored.
        grown: Builds the network; its arguments that describe the source are filled in from `source`.
        scheduler: The ``scheduler_config.json`` of the source's training. None for that of its pipeline.
        temporal: Weights of the temporal layers: the ``temporal.safetensors`` of an exported network. Trained layers
            cannot be certified. None for new layers.
    """

    source: Path
    source_sha256: str
    grown: Callable[..., GrownUNet]
    scheduler: Path | None = None
    temporal: Path | None = None

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Read, extend, certify and write.

        Args:
            place: Folder for the result.
            seed: Ignored; temporal layers that start at random take PyTorch's global generator.
            track: Ignored, since nothing is iterated over.

        Raises:
            UserError: If a file is missing or not what it should be, the hash differs, the network cannot be extended,
                or the certificate does not hold.
        """
        source = Path(self.source)
        part = read_part(source, ("UNet2DModel", "UNet2DConditionModel"))
        scheduler = find_scheduler(source) if self.scheduler is None else Path(self.scheduler)
        levels = read_json(scheduler, dict[str, Any])
        text_proj = None
        if part.config.get("class_embed_type") == "identity":
            text_proj = read_part(sibling(source, "text_proj"), ("UnCLIPTextProjModel",))
        captions = caption_files(source) if part.config.get("cross_attention_dim") else []
        arguments = _arguments(part, levels, text_proj)
        if captions:
            arguments["text_tokens"] = caption_length(source)
        denoiser, node = _denoiser(self.grown, arguments, levels)
        _load(denoiser.net, source, part, text_proj)
        further = [*(text_proj.files if text_proj else ()), *([Path(self.temporal)] if self.temporal else [])]
        self._check_hash([*part.files, scheduler, *captions, *further])
        if captions:
            _fill_empty_caption(denoiser.net, source)
        if self.temporal is not None:
            _load_temporal(denoiser.net, Path(self.temporal))
        certificate = None if self.temporal is not None else _certify(denoiser, source)
        size = part.config.get("sample_size")
        card = Card.of(node, {"name": source.name, **({"size": size} if isinstance(size, int) else {})})
        write_network(place, denoiser.state_dict(), card)
        report = {"source": source.name, "source_sha256": self.source_sha256, "diffusers": diffusers_version()}
        report |= _report(denoiser.net, bool(captions), certificate)
        (place / GROWN).write_text(json.dumps(report, indent=1) + "\n")

    def _check_hash(self, files: list[Path]) -> None:
        if (found := files_sha256(files)) != self.source_sha256:
            raise UserError(
                f"the hash is that of other files ({self.source_sha256}) than {self.source} holds; if those are meant, "
                f"give source_sha256={found}",
                argument="source_sha256",
            )


def _arguments(part: Part, levels: Mapping[str, Any], text_proj: Part | None) -> dict[str, Any]:
    """Return the arguments of `GrownUNet` that describe the source."""
    try:
        check_unet_config(part.kind, part.config)
    except UserError as error:
        raise UserError(f"{part.files[0]}: {error.message}", argument="source") from error
    kept = {entry.name: levels[entry.name] for entry in fields(NoiseSchedule) if entry.name in levels}
    if "Flow" in str(levels.get("_class_name")) or levels.get("trained_betas") or levels.get("rescale_betas_zero_snr"):
        raise UserError(
            "the noise schedule is not supported: it must be given by beta_schedule, beta_start and beta_end.",
            argument="scheduler",
        )
    plain = {key: value for key, value in part.config.items() if not key.startswith("_")}
    found: dict[str, Any] = {"kind": part.kind, "config": plain, "schedule": asdict(NoiseSchedule(**kept))}
    if text_proj is not None:
        described = {key: value for key, value in text_proj.config.items() if not key.startswith("_")}
        found["text_proj"] = described
    return found


def _denoiser(
    grown: Callable[..., GrownUNet], arguments: Mapping[str, Any], levels: Mapping[str, Any]
) -> tuple[NetDenoiser, dict[str, Any]]:
    """Build the denoiser that reads the network's output as its training meant it, and the node that describes it."""
    schedule = NoiseSchedule(**arguments["schedule"])
    prediction, variance = levels.get("prediction_type", "epsilon"), str(levels.get("variance_type"))
    if prediction not in _DENOISERS or variance == "learned":
        raise UserError(
            f"prediction_type={prediction!r} with variance_type={variance!r} is not supported.", argument="scheduler"
        )
    kind = _DENOISERS[prediction]
    options: dict[str, Any] = {"sigma_data": 1.0}  # a variance-preserving process
    if variance == "learned_range":
        if prediction != "epsilon":
            raise UserError(f"learns a variance but predicts {prediction!r}, not the noise.", argument="scheduler")
        sigmas = schedule.sigmas()
        kind = HybridDenoiser
        options |= {
            "steps": schedule.num_train_timesteps, "sigma_min": float(sigmas[0]), "sigma_max": float(sigmas[-1]),
        }  # fmt: skip
    given = dict(grown.keywords) if isinstance(grown, partial) else {}
    merged = {**given, **arguments}
    net = grown(**{**arguments, "schedule": schedule})
    target = f"{GrownUNet.__module__}.{GrownUNet.__name__}"
    described = {"_target_": target, **{key: _as_node(value) for key, value in merged.items()}}
    node = {"_target_": f"{kind.__module__}.{kind.__name__}", "net": described, **options}
    return kind(net, **options), node


def _as_node(value: Any) -> Any:
    """Return the node of a class that the network completes, such as a temporal layer; other values as they are."""
    if isinstance(value, partial):
        kind = value.func
        return {"_target_": f"{kind.__module__}.{kind.__qualname__}", "_partial_": True, **value.keywords}
    return value


def _load(net: nn.Module, source: Path, part: Part, text_proj: Part | None) -> None:
    """Replace the weights of the image network by the source's."""
    assert isinstance(net, GrownUNet)
    state = net.state_dict()
    names = {theirs: ours for ours, theirs in net.source_names().items()}
    demand_same_weights(source, part.weights, {theirs: state[ours] for theirs, ours in names.items()})
    with torch.no_grad():
        for theirs, ours in names.items():
            state[ours].copy_(part.weights[theirs])
    if text_proj is not None:
        model = net.get_submodule("conditioning.text_proj")
        demand_same_weights(text_proj.files[0].parent, text_proj.weights, model.state_dict())
        model.load_state_dict(text_proj.weights)


def _load_temporal(net: nn.Module, file: Path) -> None:
    """Replace the weights that the source does not have by those of an exported network."""
    assert isinstance(net, GrownUNet)
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the {file.name} of an exported network.", argument="temporal")
    kept = set(net.source_names()) | net.adapter_parameters().keys()
    own = {
        name: value
        for name, value in net.state_dict().items()
        if name not in kept and not name.startswith("conditioning.text_proj.")
    }
    weights = read_weights(file)
    demand_same_weights(file, weights, own)
    net.load_state_dict(weights, strict=False)


def _fill_empty_caption(net: nn.Module, source: Path) -> None:
    assert isinstance(net, GrownUNet)
    projected = isinstance(net.conditioning, UnclipConditioning)
    place: Tensor = net.conditioning.null_text if projected else net.conditioning.null_context  # type: ignore[assignment]
    empty = encode_caption(source, "", projected)
    if empty.shape != place.shape:
        raise UserError(
            f"{source}: the text encoder next to it makes {tuple(empty.shape)} of a caption, and the network takes "
            f"{tuple(place.shape)}; give a complete copy of one pipeline.",
            argument="source",
        )
    place.copy_(empty)


def _certify(denoiser: NetDenoiser, source: Path) -> Certificate | None:
    """Check that a clip equals its frames; None for temporal layers that do not start as the identity."""
    assert isinstance(denoiser.net, GrownUNet)
    if not denoiser.net.identity_init:
        return None
    found = certify_frames(copy.deepcopy(denoiser))
    if not found.holds:
        raise UserError(
            f"{source}: the extended network does not process every frame as the source does, first in layer "
            f"`{found.layer}` (difference {found.error:.1e}, allowed {TOLERANCE:.0e}); it was not written."
        )
    return found


def _report(net: nn.Module, captions: bool, certificate: Certificate | None) -> dict[str, Any]:
    assert isinstance(net, GrownUNet)
    grown, pointwise = net.temporal_layers(), []
    for name, module in net.unet.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            pointwise.append(name)
    source = set(net.source_names()) | {n for n in net.state_dict() if n.startswith("conditioning.text_proj.")}
    return {
        "temporal_layers": {name: type(layer).__name__ for name, layer in grown.items()},
        "not_extended": {name.replace(".spatial", ""): "1×1 convolution: mixes channels only" for name in pointwise},
        "new_weights": sorted(net.state_dict().keys() - source),
        "empty_caption": "of the source's text encoder" if captions else "zeros: no text encoder next to the source",
        "certificate": None if certificate is None else asdict(certificate),
    }
