"""Pipelines on disk: a folder of networks and one ``pipeline.json``, independent of the trainings they come from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mav_lightning.cascade.cascade import KINDS, Cascade, TrainedNetwork, of_kind
from mav_lightning.cascade.clip_requests import TextRequest
from mav_lightning.cascade.network_calls import check_request
from mav_lightning.cascade.pipeline_file import CONFIG, PipelineFile, read_pipeline_file
from mav_lightning.cascade.roles import ROLES, Role
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.sampling_check import check_sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import identity_sha256
from mav_lightning.common.json_files import write_json
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.card import network_id, read_card
from mav_lightning.networks.stored import copy_network, load_network

__all__ = [
    "NetworkFolders",
    "WritePipeline",
    "copy_pipeline",
    "read_pipeline",
    "write_pipeline",
]


@dataclass(frozen=True)
class NetworkFolders:
    """Folders of the trained networks of a cascade.

    Attributes:
        clip: CLIP.
        prior: Prior P.
        decoder: Decoder Dᵗ, or an image decoder.
        vae: Autoencoder whose latents `decoder` makes. None for a decoder of pixels.
        interpolator: Interpolator ↑F. None to leave it out.
        sr_low: Spatiotemporal super-resolution SRₗᵗ. None to leave it out.
        sr_high: Spatial super-resolution SRₕ. None to leave it out.
    """

    clip: Path
    prior: Path
    decoder: Path
    vae: Path | None = None
    interpolator: Path | None = None
    sr_low: Path | None = None
    sr_high: Path | None = None

    @property
    def by_role(self) -> dict[Role, Path]:
        """The folders that are given, by role."""
        return {role: folder for role in ROLES if (folder := getattr(self, role)) is not None}


@dataclass(frozen=True)
class WritePipeline(Task):
    """Task that puts trained networks together into a pipeline folder.

    Attributes:
        networks: Folders of the networks.
        sampling: Settings of the sampling chain.
    """

    networks: NetworkFolders
    sampling: Sampling

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write the pipeline folder."""
        write_pipeline(place, self.sampling, self.networks)


def read_pipeline(folder: Path, sampling: Mapping[str, Any] | None = None) -> tuple[Cascade, Sampling]:
    """Read a pipeline folder.

    Args:
        folder: The folder.
        sampling: Fields of `Sampling` to replace. None for no changes.

    Raises:
        UserError: If the folder is not a pipeline, or a network in it cannot be loaded or is not the recorded one.
    """
    stored = read_pipeline_file(folder, sampling)
    cascade = _load(_network_folders(folder, stored))
    for role, recorded in asdict(stored.checkpoints).items():
        if recorded not in (None, found := cascade.ids.get(role)):
            raise UserError(
                f"{folder / role}: holds network {found}, but {CONFIG} records {recorded}. The folder was changed "
                "after it was written; write the pipeline again from the trained networks."
            )
    return cascade, stored.sampling


def write_pipeline(out: Path, sampling: Sampling, networks: NetworkFolders) -> None:
    """Copy trained networks into a pipeline folder and write ``pipeline.json`` last.

    Args:
        out: The pipeline's folder. An existing pipeline there is invalid until the new one is complete.
        sampling: Settings of the sampling chain.
        networks: Folders of the networks; those that are in `out` under their role already stay there.

    Raises:
        UserError: If a network cannot be loaded, was trained for frames of another size, or is required by `sampling`
            and missing. Nothing is written then.
    """
    folders = networks.by_role
    cascade = _load(networks)
    check_request(TextRequest, [], False, cascade.rates, sampling)
    check_sampling(cascade, sampling)
    for role, folder in folders.items():
        size = read_card(folder).trained.size or sampling.size
        if role in ("decoder", "interpolator") and size != sampling.size:
            raise UserError(
                f"{folder}: was trained for frames of {size} pixels, and the pipeline's have {sampling.size}. Choose a "
                f"network of the same scale, or size={size}.",
                argument="size",
            )
    (out / CONFIG).unlink(missing_ok=True)
    for role, folder in folders.items():
        if folder != out / role:
            copy_network(folder, out / role)
    content = {"version": 1, "sampling": asdict(sampling), "checkpoints": cascade.ids}
    write_json(out / CONFIG, content | {"sha256": identity_sha256(content)})


def copy_pipeline(source: Path, out: Path) -> None:
    """Copy a pipeline folder.

    Raises:
        UserError: If `source` is not a pipeline, or one of its networks cannot be loaded.
    """
    stored = read_pipeline_file(source)
    write_pipeline(out, stored.sampling, _network_folders(source, stored))


def _network_folders(folder: Path, stored: PipelineFile) -> NetworkFolders:
    ids = asdict(stored.checkpoints)
    return NetworkFolders(**{role: folder / role for role in ids if ids[role] is not None})


def _load(folders: NetworkFolders) -> Cascade:
    return Cascade(**{role: _member(folder, role) for role, folder in folders.by_role.items()})  # type: ignore[arg-type]


def _member(folder: Path, role: Role) -> TrainedNetwork[nn.Module]:
    network = of_kind(load_network(folder), KINDS[role], f"{folder}: {role}")
    trained = read_card(folder).trained
    words = None if trained.words is None else frozenset(trained.words)
    return TrainedNetwork(network, network_id(folder), trained.fps, words, trained.conditioned is True, trained.vae)
