"""Variants as a study file writes them: one by one, every combination of some factors, or levels taken in pairs."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["Factors", "factors_changed", "read_variants"]

Factors = dict[str, dict[str, Any]]
"""Name of a factor → the deltas that set it."""

_UNSET = object()


def read_variants(where: str, content: Mapping[str, Any]) -> dict[str, Factors]:
    """Reads ``variants``, ``product`` and ``paired`` of a study file.

    - ``variants``: name → deltas. Deltas that are one change may be grouped under a name without a dot.
    - ``product``: factor → level → deltas; every combination is a variant, named by its levels, ``both+seconds``.
    - ``paired``: the same, but the first levels of all factors are one variant, the second levels another.

    Args:
        where: Begins messages.
        content: Of the study file.

    Returns:
        Variant → its factors.

    Raises:
        UserError: An entry of the wrong shape, unequal numbers of levels in pairs, or a name or delta given twice.
    """
    written = [
        *((str(name), _grouped(where, str(name), deltas)) for name, deltas in (content.get("variants") or {}).items()),
        *_combined(where, "product", content.get("product") or {}, itertools.product),
        *_combined(where, "paired", content.get("paired") or {}, zip),
    ]
    variants: dict[str, Factors] = {}
    for name, factors in written:
        if name in variants:
            raise UserError(f"{where}: two variants are called `{name}`; rename one, or the levels it is made of.")
        _check_keys(where, name, factors)
        variants[name] = factors
    return variants


def factors_changed(baseline: Factors, variant: Factors) -> list[str]:
    """The factors in which a variant differs from the baseline."""
    before, after = ({key: value for f in one.values() for key, value in f.items()} for one in (baseline, variant))
    owner = {key: name for one in (baseline, variant) for name, factor in one.items() for key in factor}
    keys = [key for key in before | after if before.get(key, _UNSET) != after.get(key, _UNSET)]
    return list(dict.fromkeys(owner[key] for key in keys))


def _grouped(where: str, variant: str, deltas: Any) -> Factors:
    factors: Factors = {}
    for key, value in _mapping(where, f"variant `{variant}`", deltas).items():
        group = isinstance(value, Mapping) and "." not in key
        factors[key] = dict(value) if group else {key: value}
    return factors


def _combined(where: str, section: str, factors: Any, combine: Any) -> Iterable[tuple[str, Factors]]:
    example = "{layers: {both: {}, none: {temporal.module.denoiser.net.temporal_attention: false}}}"
    if not isinstance(factors, Mapping) or not all(isinstance(levels, Mapping) for levels in factors.values()):
        raise UserError(f"{where}: `{section}` must map factors to levels to deltas, as {example}; got {factors!r}.")
    counts = {factor: len(levels) for factor, levels in factors.items()}
    if section == "paired" and len(set(counts.values())) > 1:
        told = ", ".join(f"{factor} {count}" for factor, count in counts.items())
        raise UserError(f"{where}: `paired` takes levels in step, but their numbers differ: {told}; make them equal.")
    if not factors:
        return
    for levels in combine(*(levels.items() for levels in factors.values())):
        named: Sequence[tuple[str, Any]] = levels
        yield (
            "+".join(str(level) for level, _ in named),
            {
                factor: _mapping(where, f"level `{level}` of `{factor}`", deltas)
                for factor, (level, deltas) in zip(factors, named, strict=True)
            },
        )


def _mapping(where: str, what: str, deltas: Any) -> dict[str, Any]:
    if not isinstance(deltas or {}, Mapping):
        raise UserError(f"{where}: {what} must map <stage>.<key> to a value, got {deltas!r}; {{}} for none.")
    return dict(deltas or {})


def _check_keys(where: str, variant: str, factors: Factors) -> None:
    owner: dict[str, str] = {}
    for name, factor in factors.items():
        for key in factor:
            if owner.setdefault(key, name) != name:
                raise UserError(f"{where}: variant `{variant}` sets `{key}` in both `{owner[key]}` and `{name}`.")
