"""The JSON records that a stage leaves in its folder, as typed dataclasses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, NonNegativeInt, PositiveInt, check, read_json

__all__ = [
    "DoneRecord",
    "FailureRecord",
    "RunTags",
    "StageCost",
    "StageProgress",
    "TimeSpent",
    "read_record",
    "read_scores",
]

T = TypeVar("T")

_METRIC = {"value": float | None, "interval": tuple[float, float] | None, "better": str, "unit": str}
_SCORES = {
    "protocol": dict[str, Any],
    "extractors": dict[str, str],
    "n": dict[str, int | None],
    "metrics": dict[str, dict[str, Any]],
    "clips": dict[str, dict[str, Any]],
}


@dataclass(frozen=True)
class StageCost:
    """``cost.json``: what a stage took. None for figures that the stage does not have.

    Attributes:
        steps: Optimizer steps.
        seconds: Wall-clock seconds, summed over all attempts.
        data_wait_seconds: Seconds in which no training batch was ready.
        step_seconds: Median seconds of an optimizer step.
        parameters: Parameters of the trained module, frozen ones included.
        trainable_parameters: Number of parameters that the optimizer updates.
        peak_rss_bytes: Peak resident memory of the process.
        peak_cuda_bytes: Peak memory held by tensors on the CUDA device.
        device: Name of the device that computed.
    """

    steps: NonNegativeInt | None = None
    seconds: NonNegativeFloat | None = None
    data_wait_seconds: NonNegativeFloat | None = None
    step_seconds: NonNegativeFloat | None = None
    parameters: NonNegativeInt | None = None
    trainable_parameters: NonNegativeInt | None = None
    peak_rss_bytes: NonNegativeInt | None = None
    peak_cuda_bytes: NonNegativeInt | None = None
    device: str | None = None

    def known(self) -> dict[str, Any]:
        """Return the figures that are not None, as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class _Attempt(StageCost):
    """How the last attempt at a stage ended, and where it ran.

    Attributes:
        exit: Exit code of the stage's process; negative for a signal. None if the process was lost.
        started: Start of the attempt, ISO 8601 in UTC.
        stopped: End of the attempt, ISO 8601 in UTC.
        threads: Threads the process computed with.
        commit: Commit of the code; None outside a git checkout.
        dirty: First 12 digits of the sha256 of uncommitted changes; None if there were none.
        versions: Package → version.
        python: Version of Python.
        platform: Operating system and architecture.
        host: Name of the machine.
    """

    exit: int | None = None
    started: str = ""
    stopped: str = ""
    threads: PositiveInt | None = None
    commit: str | None = None
    dirty: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    python: str = ""
    platform: str = ""
    host: str = ""


@dataclass(frozen=True)
class DoneRecord(_Attempt):
    """``done.json``: the stage is finished; its last attempt, provenance and cost."""


@dataclass(frozen=True)
class FailureRecord(_Attempt):
    """``failed.json``: the stage ended without a result.

    Attributes:
        log: Last lines of the stage's log.
    """

    log: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StageProgress:
    """``progress.json``: how far a running stage is.

    Attributes:
        done: Units finished.
        total: Units in all.
        unit: Unit of the counts, for example ``steps``.
    """

    done: NonNegativeInt
    total: NonNegativeInt
    unit: str = "steps"


@dataclass(frozen=True)
class TimeSpent:
    """``spent.json``: seconds that earlier attempts of a stage without checkpoints took.

    Attributes:
        seconds: Wall-clock seconds.
    """

    seconds: NonNegativeFloat = 0.0


@dataclass(frozen=True)
class RunTags:
    """``tags.json``: the trials that a stage serves, for experiment trackers. Never part of the stage's id.

    Attributes:
        study: Name of the study. None outside a study.
        variants: Names of the variants that use the stage.
        seed: Seed of their trials. None if they have several.
    """

    study: str | None = None
    variants: list[str] = field(default_factory=list)
    seed: int | None = None

    def tags(self) -> dict[str, str | int]:
        """Return tag → value; empty outside a study."""
        tags = {"study": self.study, "variant": ", ".join(self.variants) or None, "seed": self.seed}
        return {name: value for name, value in tags.items() if value is not None}


def read_record(file: Path, kind: type[T]) -> T | None:
    """Read a record; return None if the file does not exist.

    Raises:
        UserError: If the file is not JSON, or its content does not fit the record.
    """
    try:
        record: T = read_json(file, kind)
    except UserError:
        if file.exists():
            raise
        return None
    return record


def read_scores(file: Path) -> dict[str, Any]:
    """Read and check ``results.json``, which a score stage writes.

    Raises:
        UserError: If the file is missing, is not JSON, or its content does not fit.
    """
    scores: dict[str, Any] = read_json(file, dict[str, Any], "run the study again to make it")
    _check_fields(scores, _SCORES, ("metrics",), str(file))
    for name, metric in scores["metrics"].items():
        _check_fields(metric, _METRIC, ("value", "better"), f"{file}: metrics.{name}")
    return scores


def _check_fields(content: Mapping[str, Any], hints: Mapping[str, Any], required: tuple[str, ...], where: str) -> None:
    """Check the values of known keys; there may be others."""
    for key, hint in hints.items():
        if key in content or key in required:
            check(content.get(key), hint, f"{where}: {key}")
