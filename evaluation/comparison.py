"""Comparison of results, if they were measured in the same way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, check, read_json
from mav_lightning.common.terminal import one_line

if TYPE_CHECKING:
    from evaluation.metrics.base import Metric

__all__ = ["ComparedScore", "copy_warnings", "count_warnings", "read_results", "require_comparable", "version_warnings"]

# Fields of a protocol that affect no number, or follow from the others.
_NOT_COMPARED = ("name", "hash", "follows", "unknown")
_MOST_NAMED = 5  # differing fields in one message
_LONGEST_VALUE = 80  # characters: a sha256 is shown whole


@dataclass(frozen=True)
class StoredJackknife:
    """A jackknife read from a results file; see `evaluation.jackknife.Jackknife`."""

    value: float
    without: tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ComparedScore:
    """A score read from a results file; see `evaluation.metrics.base.Score`. NaN was written as null."""

    value: float | None
    interval: tuple[float, float] | None
    n: NonNegativeInt
    better: Literal["lower", "higher", "one", "neither"]
    unit: str = ""
    interval_kind: str = ""


def read_results(path: Path) -> dict[str, Any]:
    """Read the results that `mav evaluate` wrote.

    Args:
        path: The JSON file.

    Returns:
        The file's content, whose ``metrics``, ``protocol``, ``n``, ``extractors`` and hashes have been checked.

    Raises:
        UserError: If the file is missing or is not such a file.
    """
    content: dict[str, Any] = read_json(path, dict[str, Any], "name a file that `mav evaluate` wrote")
    hints = {
        "protocol": dict[str, Any], "metrics": dict[str, ComparedScore], "n": dict[str, NonNegativeInt],
        "extractors": dict[str, str], "real_sha256": str | None, "generated_sha256": str | None,
        "prompts_sha256": str | None, "versions": dict[str, str], "clips": dict[str, dict[str, Any]],
        "jackknife": dict[str, StoredJackknife],
    }  # fmt: skip
    for key in ("protocol", "metrics", "n", "real_sha256"):
        if key not in content:
            raise UserError(f"{path}: has no `{key}`; name a file that `mav evaluate` wrote.")
    for key, hint in hints.items():
        if key in content:
            check(content[key], hint, f"{path}: {key}")
    for part, key in (("protocol", "name"), ("protocol", "hash"), ("n", "generated")):
        if key not in content[part]:
            raise UserError(f"{path}: has no `{part}.{key}`; name a file that `mav evaluate` wrote.")
    return content


def require_comparable(names: Sequence[str], results: Sequence[dict[str, Any]]) -> None:
    """Check that results were measured in the same way, against the same real clips.

    Fields that affect no number may differ: real clips if no metric needs them, and the number of clips if all metrics
    are independent of it. Metrics of packages that are not allowed here count as moved by both.

    Args:
        names: Name of each result in messages.
        results: Two or more results, as `read_results` returns them.

    Raises:
        UserError: If protocols, weights, numbers of clips, real clips or prompts differ; the message names the fields.
    """
    for name, other in zip(names[1:], results[1:], strict=True):
        differing = list(_differing(results[0], other))
        if differing:
            more = len(differing) - _MOST_NAMED
            rest = f"; and {counted(more, 'further field')}" if more > 0 else ""
            raise UserError(
                f"{names[0]} and {name} cannot be compared, they differ in {'; '.join(differing[:_MOST_NAMED])}{rest}. "
                "Evaluate both under one protocol, with as many clips of the same prompts, against the same real ones."
            )


def count_warnings(names: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    """Warn of results of different numbers of clips, which `require_comparable` accepts for unbiased metrics.

    Args:
        names: Name of each result.
        results: Two or more results, as `read_results` returns them.
    """
    counts = [one["n"]["generated"] for one in results]
    return [
        f"{names[0]} has {counted(counts[0], 'clip')} and {name} has {count}: values are of all clips of each, "
        "differences of the clips that both have."
        for name, count in zip(names[1:], counts[1:], strict=True)
        if count != counts[0]
    ]


def version_warnings(names: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    """Warn of results that were computed with other versions of packages, which can change the last digits.

    Args:
        names: Name of each result.
        results: Two or more results, as `read_results` returns them.
    """
    found = []
    for name, other in zip(names[1:], results[1:], strict=True):
        differing = list(_differences(results[0].get("versions"), other.get("versions"), "versions"))
        if differing:
            found.append(f"{names[0]} and {name} were computed with other {'; '.join(differing)}.")
    return found


def copy_warnings(names: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    """Warn of results of the same generated clips, which cannot differ between systems.

    Args:
        names: Name of each result.
        results: Two or more results, as `read_results` returns them.
    """
    first: dict[str, str] = {}
    found = []
    for name, one in zip(names, results, strict=True):
        sha256 = one.get("generated_sha256")
        if sha256 and (other := first.setdefault(sha256, name)) is not name:
            found.append(f"{other} and {name} are of the same generated clips.")
    return found


def _differing(first: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield what differs between two results and moves a number."""
    protocol = first["protocol"]
    yield from _differences(protocol, other["protocol"])
    counts = [one["n"]["generated"] for one in (first, other)]
    if counts[0] != counts[1] and _moved(protocol, lambda metric: not metric.independent_of_count):
        yield f"number of clips: {counts[0]} and {counts[1]}"
    for kind, key in (("real clips", "real_sha256"), ("prompts", "prompts_sha256")):
        hashes = [one.get(key) for one in (first, other)]
        if hashes[0] != hashes[1] and (kind == "prompts" or _moved(protocol, lambda metric: metric.needs_real)):
            yield f"{kind}: {_shown(hashes[0] and hashes[0][:16])} and {_shown(hashes[1] and hashes[1][:16])}"
    yield from _differences(first.get("extractors"), other.get("extractors"), "weights")


def _moved(protocol: Mapping[str, Any], by: "Callable[[type[Metric]], bool]") -> bool:
    """Return whether a protocol has a metric of which `by` is true, or one that is not known here."""
    from evaluation.discovery import find_class  # imports PyTorch, which results of one kind do not need
    from evaluation.metrics.base import Metric

    settings = protocol.get("metrics")
    if not isinstance(settings, dict) or not all(isinstance(one, dict) for one in settings.values()):
        return True
    try:
        return any(
            by(find_class(str(one.get("kind")), "evaluation.metrics", Metric, name)) for name, one in settings.items()
        )
    except UserError:
        return True


def _shown(value: Any) -> str:
    text = one_line(value) if value not in (None, "") else "nothing"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _differences(a: Any, b: Any, field: str = "") -> Iterator[str]:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        if a != b:
            yield f"{field}: {_shown(a)} and {_shown(b)}"
        return
    for key in dict.fromkeys([*a, *b]):
        if field or key not in _NOT_COMPARED:
            yield from _differences(a.get(key), b.get(key), f"{field}.{key}" if field else key)
