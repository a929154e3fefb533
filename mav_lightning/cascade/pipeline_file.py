"""The description of a pipeline folder: ``pipeline.json``, read without its networks.

Light on purpose: the command line checks requests against it before it imports torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mav_lightning.cascade.roles import ROLES, Role
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import identity_sha256
from mav_lightning.common.output import FolderContent
from mav_lightning.common.schema import build, check, read_json
from mav_lightning.networks.card import NETWORK, read_card

__all__ = ["CONFIG", "PIPELINE", "READY_MADE", "NetworkIds", "PipelineFile", "read_pipeline_file", "trained_rates"]

CONFIG = "pipeline.json"
PIPELINE = FolderContent((CONFIG, *(f"{role}/{file}" for role in ROLES for file in NETWORK.files)), sign=CONFIG)
READY_MADE = Path(__file__).parents[1] / "weights" / "tiny"  # trained by recipe/tiny.yaml; see its README.md


@dataclass(frozen=True)
class NetworkIds:
    """Content ids of a pipeline's networks."""

    clip: str
    prior: str
    decoder: str
    vae: str | None = None
    interpolator: str | None = None
    sr_low: str | None = None
    sr_high: str | None = None


@dataclass(frozen=True)
class PipelineFile:
    """Content of ``pipeline.json``.

    Attributes:
        version: Version of the format.
        sampling: Settings of the sampling chain.
        checkpoints: Content ids of the networks.
        sha256: Hash of the rest, as `identity_sha256` computes it. None in files of earlier versions.
    """

    version: Literal[1]
    sampling: Sampling
    checkpoints: NetworkIds
    sha256: str | None = None


def read_pipeline_file(folder: Path, sampling: Mapping[str, Any] | None = None) -> PipelineFile:
    """Read ``pipeline.json``.

    Args:
        folder: Pipeline folder.
        sampling: Fields of `Sampling` to replace. None for no changes.

    Raises:
        UserError: If the folder is not a pipeline, its description was changed, or a setting is out of range.
    """
    missing = "write a pipeline of trained networks with `mav pipeline`, or train a small one with `mav demo`"
    content = read_json(folder / CONFIG, dict[str, Any], missing)
    stored: PipelineFile = check(content, PipelineFile, str(folder / CONFIG))
    recorded = content.pop("sha256", None)
    if recorded not in (None, identity_sha256(content)):
        raise UserError(
            f"{folder / CONFIG}: was edited or damaged after it was written. Write the pipeline again with `mav "
            "pipeline`; settings of sampling can be given to `mav generate`."
        )
    if not sampling:
        return stored
    return replace(stored, sampling=build(Sampling, {**asdict(stored.sampling), **sampling}, "sampling"))


def trained_rates(folder: Path) -> dict[Role, tuple[float, float] | None]:
    """Return the lowest and highest trained frame rate of each network of a pipeline folder; None if unknown.

    Raises:
        UserError: If the folder is not a pipeline, or a network lacks its description.
    """
    ids = asdict(read_pipeline_file(folder).checkpoints)
    return {role: read_card(folder / role).trained.fps for role in ROLES if ids[role] is not None}
