"""Provenance of every number, and warnings about sibling stages that ran under different conditions."""

from typing import Any

from mav_lightning.ablation.results import StudyResults

__all__ = ["origins"]

_COMPARED = {"device": "device", "threads": "thread count", "commit": "commit", "dirty": "uncommitted changes"}


def origins(results: StudyResults) -> dict[str, Any]:
    """Return the finished stages with machine, code and times.

    Args:
        results: Results of the study.

    Returns:
        ``stages`` (one row per stage), ``versions`` (package → versions used), ``common`` (commit, device, … → values
        over all stages, as text), ``packages`` (package of the user's own → sha256 of its source) and ``warnings``
        (sentences about stages of one name that differ in device, threads or code).
    """
    done: dict[str, dict[str, Any]] = {}
    for result in results.trials:
        for name, record in result.done.items():
            stage = result.trial.stages[name]
            done[stage.id] = {"stage": name, "id": stage.id, **record}
    versions: dict[str, set[str]] = {}
    for row in done.values():
        for package, version in [("python", row["python"]), *row["versions"].items()]:
            versions.setdefault(package, set()).add(version)
    return {
        "stages": list(done.values()),
        "versions": {package: sorted(found) for package, found in versions.items()},
        "common": {
            key: sorted({_text(row.get(key)) for row in done.values()})
            for key in ("commit", "dirty", "host", "device", "platform", "threads")
        },
        "packages": {name: sha256 for stage in results.plan.stages for name, sha256 in stage.packages.items()},
        "warnings": _warnings(list(done.values())),
    }


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    found = []
    for name in dict.fromkeys(row["stage"] for row in rows):
        for key, word in _COMPARED.items():
            values = sorted({_text(row.get(key)) for row in rows if row["stage"] == name})
            if len(values) > 1:
                found.append(f"The {name} stages differ in {word}: {', '.join(values)}.")
    return found


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
