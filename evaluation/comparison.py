"""Results beside results, where that means anything."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["demand_alike", "read_results"]

_APART = ("name", "hash")  # of a protocol: what does not move a number, or follows from the rest


def read_results(path: Path) -> dict[str, Any]:
    """Reads what `evaluate` returned, as `mav evaluate` wrote it.

    Raises:
        UserError: No such file, or another kind of file.
    """
    try:
        results = json.loads(path.read_text())
        _ = results["protocol"]["hash"], results["metrics"], results["real_sha256"], results["n"]["generated"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that `mav evaluate` wrote.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not results ({error!r}); name a file that `mav evaluate` wrote.") from error
    return results


def demand_alike(names: Sequence[str], results: Sequence[dict[str, Any]]) -> None:
    """Refuses results that were not measured in the same way, for the same prompts, against the same real clips.

    At another number of clips a Fréchet distance has another bias.

    Args:
        names: What messages call them.
        results: Two or more, as `read_results` gives them.

    Raises:
        UserError: Their protocols, weights, numbers of clips, real clips or prompts differ; it says in which fields.
    """
    for name, other in zip(names[1:], results[1:], strict=True):
        differing = list(_differences(results[0]["protocol"], other["protocol"]))
        counts = [one["n"]["generated"] for one in (results[0], other)]
        if counts[0] != counts[1]:
            differing.append(f"number of clips: {counts[0]} and {counts[1]}")
        for kind, key in (("real clips", "real_sha256"), ("prompts", "prompts_sha256")):
            if results[0].get(key) != other.get(key):
                differing.append(f"{kind}: {_short(results[0].get(key))} and {_short(other.get(key))}")
        differing += _differences(results[0].get("extractors"), other.get("extractors"), "weights")
        if differing:
            raise UserError(
                f"{names[0]} and {name} cannot be compared, they differ in {'; '.join(differing)}. Evaluate both "
                "under one protocol, with as many clips of the same prompts, against the same real ones."
            )


def _short(sha256: str | None) -> str:
    return sha256[:16] if sha256 else "none"


def _differences(a: Any, b: Any, field: str = "") -> Iterator[str]:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        if a != b:
            yield f"{field}: {a} and {b}"
        return
    for key in dict.fromkeys([*a, *b]):
        if field or key not in _APART:
            yield from _differences(a.get(key), b.get(key), f"{field}.{key}" if field else key)
