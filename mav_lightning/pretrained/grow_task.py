"""Tasks that turn an image network of diffusers into a space-time network of this project."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mav_lightning.certificate import Certificate
from mav_lightning.common.diffusers_library import diffusers_version
from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.card import Card
from mav_lightning.networks.stored import write_network
from mav_lightning.pretrained.diffusers_export import TEMPORAL, export_diffusers
from mav_lightning.pretrained.diffusers_folder import check_sha256, files_sha256, read_weights
from mav_lightning.pretrained.grown_source import GrownSource, read_grown_source
from mav_lightning.pretrained.grown_unet import GrownUNet

__all__ = ["GROWN", "GrowDiffusers", "GrowTrained"]

GROWN = "grown.json"


@dataclass(frozen=True)
class GrowDiffusers(Task):
    """Add temporal layers to an image network of diffusers, and check that each frame's output stays the same.

    The result is a trained network like any other, and ``grown.json``: which layers are followed by a temporal one,
    which are not and why, which weights are new, and the certificate.

    Attributes:
        source: Folder of a ``UNet2DModel`` or ``UNet2DConditionModel``, for example ``karlo/decoder``. The other parts
            of its pipeline that it needs are read from the folders next to it.
        source_sha256: Hash of all files that are read, which identifies the network wherever they are stored.
        grown: Builds the network; its arguments that describe the source are filled in from `source`.
        scheduler: ``scheduler_config.json`` of the source's training. None reads the one of its pipeline.
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
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If a file is missing or not what it should be, the hash differs, the network cannot be extended,
                or the certificate does not hold.
        """
        source = read_grown_source(self.source, self.grown, self.scheduler)
        temporal = [] if self.temporal is None else [_existing(self.temporal)]
        check_sha256([*source.files, *temporal], self.source_sha256, self.source)
        _write(place, source, source.complete(self.temporal), self.source_sha256)


@dataclass(frozen=True)
class GrowTrained(Task):
    """Write a trained image network in the format of diffusers, read it back and add temporal layers.

    The result is that of `GrowDiffusers`, and the folder ``diffusers``, which it was extended from.

    Attributes:
        network: Folder of a `GrownUNet` without temporal layers that was trained on images. All of its weights must
            have a place in diffusers' format, so image embeddings must be read by the network of diffusers itself.
        grown: Builds the network; its arguments that describe the source are filled in.
    """

    network: Path
    grown: Callable[..., GrownUNet]

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write, read, extend and certify.

        Args:
            place: Folder for the result.
            seed: Ignored; temporal layers that start at random take PyTorch's global generator.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If the network is of another kind or has further weights, cannot be extended, or the certificate
                does not hold.
        """
        folder = place / "diffusers"
        export_diffusers(self.network, folder, overwrite=True)
        further = read_weights(folder / TEMPORAL)
        if kept := sorted(name for name, value in further.items() if bool(value.any())):
            raise UserError(
                f"{self.network}: {len(kept)} of its weights have no place in diffusers' format, first `{kept[0]}`; "
                "give an image network without temporal layers, whose `class_embed_type` is projection.",
                argument="network",
            )
        source = read_grown_source(folder / "unet", self.grown)
        _write(place, source, source.complete(), files_sha256(source.files))


def _write(place: Path, source: GrownSource, certificate: Certificate | None, sha256: str) -> None:
    """Write the extended network and the report."""
    trained = {"name": source.folder.name, "size": source.size}
    write_network(place, source.denoiser.state_dict(), Card.of(source.node, trained))
    report = {"source": source.folder.name, "source_sha256": sha256, "diffusers": diffusers_version()}
    report |= _report(source.net, bool(source.captions), certificate)
    write_json(place / GROWN, report)


def _existing(temporal: Path) -> Path:
    if not temporal.is_file():
        raise UserError(
            f"{temporal}: no such file; give the {temporal.name} of an exported network.", argument="temporal"
        )
    return temporal


def _report(net: GrownUNet, captions: bool, certificate: Certificate | None) -> dict[str, Any]:
    convolutions = [(name, one) for name, one in net.unet.named_modules() if isinstance(one, nn.Conv2d)]
    pointwise = [name for name, one in convolutions if one.kernel_size == (1, 1)]
    source = set(net.source_names()) | {
        name for name in net.state_dict() if name.startswith(("conditioning.text_proj.", "conditioning.embedding_"))
    }
    return {
        "temporal_layers": {name: type(layer).__name__ for name, layer in net.temporal_layers().items()},
        "not_extended": {name.replace(".spatial", ""): "1×1 convolution: mixes channels only" for name in pointwise},
        "new_weights": sorted(net.state_dict().keys() - source),
        "empty_caption": "of the source's text encoder" if captions else "zeros: no text encoder next to the source",
        "certificate": None if certificate is None else asdict(certificate),
    }
