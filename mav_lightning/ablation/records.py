"""Records that stages leave on disk, checked before a report uses them: results, completion and failure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mav_lightning.common.schema import check, read_json

__all__ = ["read_done", "read_failure", "read_scores"]

_METRIC = {"value": float | None, "interval": tuple[float, float] | None, "better": str, "unit": str}
_SCORES = {
    "protocol": dict[str, Any],
    "extractors": dict[str, str],
    "n": dict[str, int | None],
    "metrics": dict[str, dict[str, Any]],
    "clips": dict[str, dict[str, Any]],
}
_DONE = {
    "seconds": float,
    "started": str,
    "stopped": str,
    "python": str,
    "versions": dict[str, str],
    "commit": str | None,
    "steps": int | None,
    "parameters": int | None,
    "step_seconds": float | None,
    "peak_rss_bytes": int | None,
    "peak_cuda_bytes": int | None,
}
_ALWAYS_DONE = ("seconds", "started", "stopped", "python", "versions")
_FAILURE = {"exit": int | None, "log": list[str]}


def read_scores(file: Path) -> dict[str, Any]:
    """Read ``results.json``, which a score stage writes.

    Raises:
        UserError: If the file is missing or a value does not fit.
    """
    scores = _read(file, _SCORES, ("metrics",))
    for name, metric in scores["metrics"].items():
        _check_fields(metric, _METRIC, ("value", "better"), f"{file}: metrics.{name}")
    return scores


def read_done(file: Path) -> dict[str, Any]:
    """Read ``done.json``: when, where and how long a finished stage ran, and what it cost.

    Raises:
        UserError: If the file is missing or a value does not fit.
    """
    return _read(file, _DONE, _ALWAYS_DONE)


def read_failure(file: Path) -> dict[str, Any] | None:
    """Read ``failed.json``: exit code and last log lines of a failed stage; None if the stage did not fail.

    Raises:
        UserError: If a value does not fit.
    """
    return _read(file, _FAILURE, tuple(_FAILURE)) if file.exists() else None


def _read(file: Path, hints: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    content: dict[str, Any] = read_json(file, dict[str, Any], "run the study again to make it")
    _check_fields(content, hints, required, str(file))
    return content


def _check_fields(content: Mapping[str, Any], hints: Mapping[str, Any], required: tuple[str, ...], where: str) -> None:
    """Check the values of known keys; a record may hold more."""
    for key, hint in hints.items():
        if key in content or key in required:
            check(content.get(key), hint, f"{where}: {key}")
