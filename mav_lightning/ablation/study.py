"""A study file: what is asked, of which recipe, with which variants and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.config import find_config, read_yaml
from mav_lightning.config import parse_override as parse_override
from mav_lightning.runs.recipe import Recipe, load_recipe

__all__ = ["Better", "Metric", "Study", "load_study"]

Better = Literal["lower", "higher", "one"]
_BETTER = ("lower", "higher", "one")
_REQUIRED = ("question", "recipe", "seeds", "baseline", "metrics", "variants")


@dataclass(frozen=True)
class Metric:
    """A number the study asks for.

    Attributes:
        name: As `mav evaluate` writes it.
        better: Which way is good; ``one`` means the nearer to 1, the better.
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
        variants: Name → deltas, ``<stage>.<key>`` or ``<stage>.needs.<role>`` → value.
        overrides: Deltas of all variants, under the variants' own.
        threads: Each stage computes with.
    """

    name: str
    question: str
    recipe: str
    seeds: list[int]
    baseline: str
    metrics: list[Metric]
    variants: dict[str, dict[str, Any]]
    overrides: dict[str, Any] = field(default_factory=dict)
    threads: int = 2

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
        return self.overrides | self.variants[variant]


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
    study = _parse(file.stem, read_yaml(file))
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


def _parse(name: str, content: Mapping[str, Any]) -> Study:
    known = {entry.name for entry in fields(Study)} - {"name"}
    for key in content:
        if key not in known:
            raise UserError(
                f"{name}: unknown key `{key}`{did_you_mean(key, known)}; a study has {', '.join(sorted(known))}."
            )
    for key in _REQUIRED:
        if content.get(key) is None:
            raise UserError(f"{name}: `{key}` is missing; a study needs {', '.join(_REQUIRED)}.")
    for key, kind, example in (
        ("seeds", list, "[0, 1]"),
        ("metrics", list, "[{name: law, better: higher}]"),
        ("variants", dict, "{on: {}, off: {temporal.size: 8}}"),
        ("overrides", dict, "{temporal.fit.steps: 800}"),
    ):
        if not isinstance(content.get(key) or kind(), kind):
            raise UserError(f"{name}: `{key}` must look like {example}, got {content[key]!r}.")
    variants = {str(variant): _mapping(name, variant, deltas) for variant, deltas in content["variants"].items()}
    metrics = [_metric(name, entry) for entry in content["metrics"]]
    return Study(**{**content, "name": name, "variants": variants, "metrics": metrics})


def _mapping(name: str, variant: str, deltas: Any) -> dict[str, Any]:
    if not isinstance(deltas or {}, dict):
        raise UserError(
            f"{name}: variant `{variant}` must map <stage>.<key> to a value, got {deltas!r}; {{}} for none."
        )
    return dict(deltas or {})


def _metric(name: str, entry: Any) -> Metric:
    if not isinstance(entry, dict) or set(entry) != {"name", "better"} or entry["better"] not in _BETTER:
        raise UserError(f"{name}: a metric must read {{name: NAME, better: {' | '.join(_BETTER)}}}, got {entry!r}.")
    return Metric(**entry)
