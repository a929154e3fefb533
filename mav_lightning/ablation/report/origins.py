"""Where every number came from, and where stages that should differ only in the ablation differ in more."""

from typing import Any

from mav_lightning.ablation.results import StudyResults

__all__ = ["origins"]

_COMPARED = {"device": "device", "threads": "thread count", "commit": "commit", "dirty": "uncommitted changes"}


def origins(results: StudyResults) -> dict[str, Any]:
    """Stages that are done, with machine, code and times.

    Returns:
        ``stages`` (one row each), ``versions`` (package → versions met), ``common`` (what all stages agree on: commit,
        device, …, as text) and ``warnings`` (sentences about stages of one name that disagree).
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
