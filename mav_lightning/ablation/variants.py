"""Variants of a study: an explicit list, every combination of the levels of some factors, or levels in pairs."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["Factors", "combine_variants", "factors_changed"]

Factors = dict[str, dict[str, Any]]
"""Name of a factor → the deltas that set it."""

Levels = Mapping[str, Mapping[str, dict[str, Any] | None]]
"""Factor → level → deltas."""

_UNSET = object()


def combine_variants(
    where: str, variants: Mapping[str, dict[str, Any] | None], product: Levels, paired: Levels
) -> dict[str, Factors]:
    """Return all variants of a study file with their factors.

    Args:
        where: Name of the study, which messages start with.
        variants: Variant → deltas. Deltas that are one change may be grouped under a name without a dot.
        product: Factor → level → deltas. Every combination of levels is a variant, named by its levels, for example
            ``both+seconds``.
        paired: Factor → level → deltas. The first levels of all factors are one variant, the second levels another.

    Raises:
        UserError: If paired factors have unequal numbers of levels, or a name or a delta is given twice.
    """
    counts = {factor: len(levels) for factor, levels in paired.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{factor} has {count}" for factor, count in counts.items())
        raise UserError(f"{where}.paired: all factors must have the same number of levels, but {found}.")
    written = [
        *((name, _grouped(deltas or {})) for name, deltas in variants.items()),
        *_combined(product, itertools.product),
        *_combined(paired, zip),
    ]
    found_variants: dict[str, Factors] = {}
    for name, factors in written:
        if name in found_variants:
            raise UserError(
                f"{where}.variants.{name}: two variants have this name; rename one, or the levels it is made of."
            )
        _check_keys(where, name, factors)
        found_variants[name] = factors
    return found_variants


def factors_changed(baseline: Factors, variant: Factors) -> list[str]:
    """Return the factors in which a variant differs from the baseline."""
    before, after = ({key: value for f in one.values() for key, value in f.items()} for one in (baseline, variant))
    owner = {key: name for one in (baseline, variant) for name, factor in one.items() for key in factor}
    keys = [key for key in before | after if before.get(key, _UNSET) != after.get(key, _UNSET)]
    return list(dict.fromkeys(owner[key] for key in keys))


def _grouped(deltas: Mapping[str, Any]) -> Factors:
    return {
        key: dict(value) if isinstance(value, Mapping) and "." not in key else {key: value}
        for key, value in deltas.items()
    }


def _combined(factors: Levels, combine: Callable[..., Iterable[Any]]) -> Iterator[tuple[str, Factors]]:
    if not factors:
        return
    for levels in combine(*(levels.items() for levels in factors.values())):
        name = "+".join(level for level, _ in levels)
        yield name, {factor: dict(deltas or {}) for factor, (_, deltas) in zip(factors, levels, strict=True)}


def _check_keys(where: str, variant: str, factors: Factors) -> None:
    """Reject a delta key that two factors of a variant set."""
    owner: dict[str, str] = {}
    for name, factor in factors.items():
        for key in factor:
            if owner.setdefault(key, name) != name:
                raise UserError(
                    f"{where}.variants.{variant}: both `{owner[key]}` and `{name}` set `{key}`; remove one of them."
                )
