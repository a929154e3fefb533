"""A study file: what is asked, of which recipe, with which variants and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from mav_lightning.ablation.budget import Budget
from mav_lightning.ablation.variants import Factors, factors_changed, read_variants
from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.config import find_config, read_yaml
from mav_lightning.config import parse_override as parse_override
from mav_lightning.runs.recipe import Recipe, load_recipe

__all__ = ["Better", "Metric", "Study", "load_study"]

Better = Literal["lower", "higher", "one", "neither"]
_BETTER = ("lower", "higher", "one")  # what a study may ask for
_REQUIRED = ("question", "recipe", "seeds", "baseline", "metrics")
_ADDED = ("variants", "product", "paired", "overrides")  # to those of the study that is extended


@dataclass(frozen=True)
class Metric:
    """A number the study asks for.

    Attributes:
        name: As `mav evaluate` writes it.
        better: Which way is good; ``one`` means the nearer to 1, the better, and ``neither`` that it is told only.
    """

    name: str
    better: Better


@dataclass(frozen=True)
class Study:
    """A checked study.

    Attributes:
        name: The file's name without its ending.
        question: What the study answers, one sentence.
        recipe: The recipe's file.
        seeds: One trial of every variant at each.
        baseline: The variant the others are compared with.
        metrics: The numbers that answer the question, the most important first.
        variants: Name → factors → deltas, ``<stage>.<key>`` or ``<stage>.needs.<role>`` → value; see `read_variants`.
        overrides: Deltas of all variants, under the variants' own.
        threads: Each stage computes with.
        protocol: Name of the protocol that scores all trials; None for the recipe's own.
        budget: What each variant may spend on one stage; None where the configs say.
    """

    name: str
    question: str
    recipe: str
    seeds: list[int]
    baseline: str
    metrics: list[Metric]
    variants: dict[str, Factors]
    overrides: dict[str, Any] = field(default_factory=dict)
    threads: int = 2
    protocol: str | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if not self.seeds or any(type(seed) is not int for seed in self.seeds):
            raise UserError(f"{self.name}: `seeds` must list whole numbers, got {self.seeds}; for example [0, 1, 2].")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(
                f"{self.name}: `seeds` {self.seeds} names one twice; every seed is one trial, list it once."
            )
        if self.baseline not in self.variants:
            near = did_you_mean(self.baseline, self.variants)
            known = ", ".join(self.variants)
            raise UserError(f"{self.name}: the baseline `{self.baseline}` is no variant{near}; there are {known}.")
        if len(self.variants) < 2:
            raise UserError(
                f"{self.name}: `{self.baseline}` is the only variant, so there is nothing to compare; add another to "
                "`variants`."
            )
        if not self.metrics:
            raise UserError(
                f"{self.name}: `metrics` is empty; name at least one, for example {{name: law, better: higher}}."
            )
        if type(self.threads) is not int or self.threads < 1:
            raise UserError(f"{self.name}: `threads` must be a whole number from 1, got {self.threads}.")

    @property
    def order(self) -> list[str]:
        """The variants' names, the baseline first."""
        return [self.baseline, *(name for name in self.variants if name != self.baseline)]

    def deltas(self, variant: str) -> dict[str, Any]:
        """What a variant changes in the recipe, the study's overrides included."""
        factors = self.variants[variant].values()
        return self.overrides | {key: value for factor in factors for key, value in factor.items()}

    def factors(self, variant: str) -> list[str]:
        """The factors in which a variant differs from the baseline."""
        return factors_changed(self.variants[self.baseline], self.variants[variant])

    @property
    def warnings(self) -> list[str]:
        """Sentences about variants whose differences cannot be put down to one factor.

        Where other variants differ from one in each of its factors alone, as in a product, these tell what each does.
        """
        found = []
        for name in self.order[1:]:
            others = [factors_changed(one, self.variants[name]) for one in self.variants.values()]
            factors = self.factors(name)
            if len(factors) > 1 and any([factor] not in others for factor in factors):
                found.append(
                    f"{name} differs from {self.baseline} in {len(factors)} factors ({', '.join(factors)}), and what "
                    "each of them does cannot be told from it alone."
                )
        return found


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Study, Recipe]:
    """Reads a study file.

    Args:
        path: As `find_config` takes it.
        overrides: ``<stage>.<key>=value`` for all variants; ``seeds=[…]`` or ``threads=n`` for the study itself.

    Returns:
        The study, and its recipe.

    Raises:
        UserError: A missing or unknown key, or a value of the wrong shape.
    """
    file = find_config(path)
    study = _parse(file.stem, _extended(file, []))
    recipe = load_recipe(study.recipe)
    for key, value in map(parse_override, overrides):
        if key in ("seeds", "threads"):
            study = replace(study, **{key: value})
        elif key.partition(".")[0] in recipe.stages:
            study = replace(study, overrides=study.overrides | {key: value})
        else:
            known = ["seeds", "threads", *(f"{stage}.<key>" for stage in recipe.stages)]
            raise UserError(
                f"override `{key}`: no such key{did_you_mean(key, known)}; a study takes {', '.join(known)}."
            )
    return study, recipe


def _extended(file: Path, by: Sequence[Path]) -> dict[str, Any]:
    """The content of a study file over that of the study it extends: what it adds, replaces or, by null, takes out."""
    if file in by:
        circle = " → ".join(one.name for one in (*by, file))
        raise UserError(f"{file.stem}: studies extend each other in a circle ({circle}); change one `extends`.")
    content = read_yaml(file)
    if (base := content.pop("extends", None)) is None:
        return content
    under = _extended(find_config(base), [*by, file])
    if isinstance(budget := content.get("budget"), Mapping) and _maps(under.get("overrides")):
        under["overrides"].pop(f"{budget.get('stage')}.fit.steps", None)  # the budget takes their place
    added = {key: _added(file.stem, key, under.get(key), content[key]) for key in _ADDED if _maps(content.get(key))}
    return under | content | added


def _added(where: str, section: str, under: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """A section over the same one of the study that is extended, which null takes entries out of."""
    inherited = dict(under) if _maps(under) else {}
    gone = [name for name, value in own.items() if value is None]
    for name in gone:
        if name not in inherited and section != "overrides":  # where null is a value too
            known = [str(one) for one in inherited]
            raise UserError(
                f"{where}: `{section}.{name}` is null, which takes out what is inherited, and nothing of that name "
                f"is{did_you_mean(str(name), known)}; there are {', '.join(known) or 'none'}. To add one without "
                "deltas, write {}."
            )
    return {name: value for name, value in (inherited | dict(own)).items() if not (name in gone and name in inherited)}


def _maps(value: Any) -> bool:
    return isinstance(value, Mapping)


def _parse(name: str, content: Mapping[str, Any]) -> Study:
    known = {entry.name for entry in fields(Study)} - {"name"} | {"product", "paired", "extends"}
    for key in content:
        if key not in known:
            raise UserError(
                f"{name}: unknown key `{key}`{did_you_mean(key, known)}; a study has {', '.join(sorted(known))}."
            )
    for key in _REQUIRED:
        if content.get(key) is None:
            raise UserError(f"{name}: `{key}` is missing; a study needs {', '.join(_REQUIRED)} and variants.")
    for key, kind, example in (
        ("seeds", list, "[0, 1]"),
        ("metrics", list, "[{name: law, better: higher}]"),
        ("variants", dict, "{on: {}, off: {temporal.size: 8}}"),
        ("overrides", dict, "{temporal.fit.steps: 800}"),
        ("budget", dict, "{stage: temporal, samples: 48000}"),
    ):
        if not isinstance(content.get(key) or kind(), kind):
            raise UserError(f"{name}: `{key}` must look like {example}, got {content[key]!r}.")
    plain = {key: value for key, value in content.items() if key not in ("product", "paired")}
    read = {
        "variants": read_variants(name, content),
        "metrics": [_metric(name, entry) for entry in content["metrics"]],
        "budget": _budget(name, content.get("budget")),
    }
    return Study(**{**plain, "name": name, **read})


def _budget(name: str, content: Mapping[str, Any] | None) -> Budget | None:
    if not content:
        return None
    known = [entry.name for entry in fields(Budget)]
    if unknown := [key for key in content if key not in known]:
        near = did_you_mean(unknown[0], known)
        raise UserError(f"{name}: `budget.{unknown[0]}`: no such key{near}; it has {', '.join(known)}.")
    if "stage" not in content:
        raise UserError(f"{name}: `budget` names no stage; add for example `stage: temporal`.")
    try:
        return Budget(**content)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _metric(name: str, entry: Any) -> Metric:
    if not isinstance(entry, dict) or set(entry) != {"name", "better"} or entry["better"] not in _BETTER:
        raise UserError(f"{name}: a metric must read {{name: NAME, better: {' | '.join(_BETTER)}}}, got {entry!r}.")
    return Metric(**entry)
