"""Reading of study files: one study may extend another, and every value is checked against its declared type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from mav_lightning.ablation.budget import Budget
from mav_lightning.ablation.study import Study, StudyMetric
from mav_lightning.ablation.variants import combine_variants
from mav_lightning.common.allowed import allow as allow_packages
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import PositiveInt, Seed, build, check
from mav_lightning.config import find_config, parse_override, read_yaml
from mav_lightning.runs.recipe import Recipe, load_recipe

__all__ = ["StudyFile", "load_study"]

_MERGED = ("variants", "product", "paired", "overrides")  # sections merged entry by entry with the extended study's
_OVERRIDABLE = ("seeds", "threads")

Deltas = dict[str, Any]


@dataclass(frozen=True)
class StudyFile:
    """Content of a study file, after `extends` is resolved.

    Attributes:
        question: Question that the study answers, one sentence.
        recipe: Path of the recipe file.
        seeds: Seeds; every variant has one trial at each.
        baseline: Name of the variant that all others are compared with.
        metrics: Numbers that answer the question, the most important first.
        variants: Variant → deltas; None for none.
        product: Factor → level → deltas; every combination of levels is a variant.
        paired: Factor → level → deltas; the first levels are one variant, the second levels another, and so on.
        overrides: Deltas of all variants.
        threads: CPU threads that each stage computes with.
        protocol: Name of the protocol that scores all trials; None uses the recipe's own.
        budget: Budget of each variant's training of one stage; None leaves the steps to the configs.
        allow: Names of the user's own packages whose classes the configs may name.
    """

    question: str
    recipe: str
    seeds: list[Seed]
    baseline: str
    metrics: list[StudyMetric]
    variants: dict[str, Deltas | None] = field(default_factory=dict)
    product: dict[str, dict[str, Deltas | None]] = field(default_factory=dict)
    paired: dict[str, dict[str, Deltas | None]] = field(default_factory=dict)
    overrides: Deltas = field(default_factory=dict)
    threads: PositiveInt = 2
    protocol: str | None = None
    budget: Budget | None = None
    allow: list[str] = field(default_factory=list)


def load_study(path: str | Path, overrides: Sequence[str] = (), allow: Sequence[str] = ()) -> tuple[Study, Recipe]:
    """Read a study file and its recipe.

    The packages that the study allows are allowed in this process from here on.

    Args:
        path: Study file; `find_config` also finds shipped ones.
        overrides: ``<stage>.<key>=value`` for all variants; ``seeds=[…]`` or ``threads=n`` for the study itself.
        allow: Further packages to allow, beside those that the file lists.

    Returns:
        The study and its recipe.

    Raises:
        UserError: If a key is unknown or missing, or a value does not fit its type.
    """
    file = find_config(path)
    study = _study(file.stem, _extended(file, []))
    study = replace(study, allow=list(dict.fromkeys([*study.allow, *allow])))
    allow_packages(study.allow)
    recipe = load_recipe(study.recipe)
    hints = get_type_hints(Study, include_extras=True)
    for key, value in map(parse_override, overrides):
        if key in _OVERRIDABLE:
            study = replace(study, **{key: check(value, hints[key], f"{file.stem}.{key}")})
        elif key.partition(".")[0] in recipe.stages:
            study = replace(study, overrides=study.overrides | {key: value})
        else:
            known = [*_OVERRIDABLE, *(f"{stage}.<key>" for stage in recipe.stages)]
            stages = [f"{stage}.{key.partition('.')[2]}" for stage in recipe.stages]
            raise UserError(
                f"override `{key}`: there is no such key; a study takes {', '.join(known)}.",
                suggestion=nearest(key, [*_OVERRIDABLE, *stages]),
            )
    return study, recipe


def _study(name: str, content: Mapping[str, Any]) -> Study:
    """Check the content of a study file and combine its variants."""
    optional = {one.name for one in fields(StudyFile)} - {"question", "recipe", "seeds", "baseline", "metrics"}
    kept = {key: _named(key, value) for key, value in content.items() if not (value is None and key in optional)}
    file = build(StudyFile, kept, name)
    same = {one.name: getattr(file, one.name) for one in fields(StudyFile) if one.name not in _MERGED}
    variants = combine_variants(name, file.variants, file.product, file.paired)
    return Study(name=name, variants=variants, overrides=file.overrides, **same)


def _named(section: str, value: Any) -> Any:
    """Return a section with the names of its variants, factors and levels as text: YAML reads `12` as a number."""
    if section not in ("variants", "product", "paired") or not isinstance(value, Mapping):
        return value
    named = {str(name): entry for name, entry in value.items()}
    if section == "variants":
        return named
    return {
        factor: {str(level): deltas for level, deltas in levels.items()} if isinstance(levels, Mapping) else levels
        for factor, levels in named.items()
    }


def _extended(file: Path, by: Sequence[Path]) -> dict[str, Any]:
    """Merge a study file over the study it extends: it adds or replaces entries, and removes those it sets to null."""
    if file in by:
        circle = " → ".join(one.name for one in (*by, file))
        raise UserError(f"{file.stem}.extends: studies extend each other in a cycle ({circle}); change one `extends`.")
    content = read_yaml(file)
    if (base := content.pop("extends", None)) is None:
        return content
    under = _extended(find_config(check(base, str, f"{file.stem}.extends")), [*by, file])
    budget, overrides = content.get("budget"), under.get("overrides")
    if isinstance(budget, Mapping) and isinstance(overrides, Mapping):
        steps = f"{budget.get('stage')}.fit.steps"  # the budget replaces them
        under["overrides"] = {key: value for key, value in overrides.items() if key != steps}
    merged = {
        key: _merged(file.stem, key, under.get(key), content[key])
        for key in _MERGED
        if isinstance(content.get(key), Mapping)
    }
    return under | content | merged


def _merged(where: str, section: str, under: Any, own: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge a section over the same section of the extended study; null removes an inherited entry."""
    inherited = dict(under) if isinstance(under, Mapping) else {}
    removed = [name for name, value in own.items() if value is None]
    for name in removed:
        if name not in inherited and section != "overrides":  # in which null is a value as well
            known = [str(one) for one in inherited]
            raise UserError(
                f"{where}.{section}.{name}: null removes an inherited entry, and there is none of this name; inherited "
                f"are {', '.join(known) or 'none'}. To add an entry without deltas, write {{}}.",
                suggestion=nearest(str(name), known),
            )
    return {
        name: value for name, value in (inherited | dict(own)).items() if name not in removed or name not in inherited
    }
