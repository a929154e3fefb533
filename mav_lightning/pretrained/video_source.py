"""The task that turns a video network of diffusers into a stage."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mav_lightning.common.diffusers_library import diffusers_class, diffusers_version, known_arguments
from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.schema import PositiveInt
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.card import Card
from mav_lightning.networks.catalogue import node_of
from mav_lightning.networks.stored import write_network
from mav_lightning.pretrained.diffusers_folder import (
    Part,
    check_sha256,
    demand_same_weights,
    find_scheduler,
    read_part,
    read_scheduler,
)
from mav_lightning.pretrained.empty_caption import caption_files, caption_length, fill_empty_caption
from mav_lightning.pretrained.grown_source import PREDICTIONS, noise_schedule
from mav_lightning.pretrained.video_network import VIDEO_MODULES, VideoKind, VideoNetwork

__all__ = ["VIDEO", "AdoptVideoNetwork"]

VIDEO = "video.json"


class _Source(NamedTuple):
    """A video network of diffusers: class, arguments, size of its images, weights, and the files that were read."""

    kind: VideoKind
    config: dict[str, Any]
    size: int | None
    weights: dict[str, Tensor]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class AdoptVideoNetwork(Task):
    """Turn a video network of diffusers into a stage: AnimateDiff's or ModelScope's, with its own layers of time.

    Attributes:
        source: Folder of a ``UNet3DConditionModel``, of a ``UNetMotionModel``, or with `adapter` that of the
            ``UNet2DConditionModel`` that it moves. Scheduler and text encoder are read from the folders next to it.
        source_sha256: Hash of all files that are read, which identifies the network wherever they are stored.
        adapter: Folder of a ``MotionAdapter``. None for a network that has its own layers of time.
        cond_channels: Length of the image embeddings that condition the result.
        scheduler: ``scheduler_config.json`` of the source's training. None reads the one of its pipeline.
    """

    source: Path
    source_sha256: str
    adapter: Path | None = None
    cond_channels: PositiveInt = 768
    scheduler: Path | None = None

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Read, check and write the network.

        Args:
            place: Folder for the result.
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If a file is missing or not what it should be, or the hash differs.
        """
        source = self.source
        found = _read(source, self.adapter)
        scheduler = find_scheduler(source) if self.scheduler is None else self.scheduler
        levels, captions = read_scheduler(scheduler), caption_files(source)
        check_sha256([*found.files, scheduler, *captions], self.source_sha256, source)
        if (prediction := str(levels.get("prediction_type", "epsilon"))) not in PREDICTIONS:
            raise UserError(
                f"{scheduler}: prediction_type={prediction!r} is not supported; it must be one of "
                f"{', '.join(PREDICTIONS)}.",
                argument="scheduler",
            )
        schedule = noise_schedule(levels, scheduler)
        settings = {
            "cond_channels": self.cond_channels,
            **({"text_tokens": caption_length(source)} if captions else {}),
        }
        net = VideoNetwork(found.kind, found.config, schedule, **settings)
        _fill(net, found.weights, source, bool(captions))
        described = node_of(VideoNetwork, kind=found.kind, config=found.config, schedule=asdict(schedule), **settings)
        node = node_of(PREDICTIONS[prediction], net=described, sigma_data=1.0)  # a variance-preserving process
        weights = {f"net.{name}": value for name, value in net.state_dict().items()}
        write_network(place, weights, Card.of(node, {"name": source.name, "size": found.size}))
        report = {
            "source": source.name,
            "source_sha256": self.source_sha256,
            "diffusers": diffusers_version(),
            "class": found.kind,
            "temporal": sorted(net.temporal_names()),
            "frame_rate": "not read",
        }
        write_json(place / VIDEO, report)


def _read(source: Path, adapter: Path | None) -> _Source:
    if adapter is None:
        part = read_part(source, VIDEO_MODULES)
        kind: VideoKind = "UNetMotionModel" if part.kind == "UNetMotionModel" else "UNet3DConditionModel"
        _built(part, source, VIDEO_MODULES[kind])
        return _Source(kind, part.arguments, part.size, part.weights, part.files)
    image, motion = read_part(source, ("UNet2DConditionModel",)), read_part(adapter, ("MotionAdapter",))
    module = VIDEO_MODULES["UNetMotionModel"]
    unet = _built(image, source, "diffusers.models.unets.unet_2d_condition")
    moving = diffusers_class(module, "UNetMotionModel")
    try:
        model = moving.from_unet2d(unet, _built(motion, adapter, module))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{adapter}: does not fit the network in {source} ({str(error).splitlines()[0]}).", argument="adapter"
        ) from error
    made: dict[str, Any] = json.loads(json.dumps({k: v for k, v in model.config.items() if not k.startswith("_")}))
    return _Source("UNetMotionModel", made, image.size, model.state_dict(), (*image.files, *motion.files))


def _built(part: Part, folder: Path, module: str) -> Any:
    """Build a model of diffusers with exactly the weights of its folder."""
    kind = diffusers_class(module, part.kind)
    try:
        model = kind(**known_arguments(kind, part.config))
    except UserError as error:
        raise UserError(f"{part.files[0]}: {error.message}", argument="source") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{part.files[0]}: does not describe a {part.kind} ({error}).", argument="source") from error
    demand_same_weights(folder, part.weights, model.state_dict())
    model.load_state_dict(part.weights)
    return model


def _fill(net: VideoNetwork, weights: Mapping[str, Tensor], source: Path, captions: bool) -> None:
    """Replace the network's weights by the source's, and its empty caption by what the text encoder makes of it."""
    state, names = net.state_dict(), net.source_names()
    demand_same_weights(source, weights, {theirs: state[ours] for ours, theirs in names.items()})
    with torch.no_grad():
        for ours, theirs in names.items():
            state[ours].copy_(weights[theirs])
    if captions:
        fill_empty_caption(net.conditioning.null_context, source, projected=False)
