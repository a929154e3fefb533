"""A study: a question, a recipe, named variants and seeds."""

from dataclasses import dataclass, field
from typing import Any, Literal

from mav_lightning.ablation.budget import Budget
from mav_lightning.ablation.variants import Factors, factors_changed
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import PositiveInt, Seed, check

__all__ = ["Better", "Study", "StudyMetric"]

Better = Literal["lower", "higher", "one", "neither"]


@dataclass(frozen=True)
class StudyMetric:
    """A number that a study reports.

    Attributes:
        name: Name under which `mav evaluate` writes it.
        better: Direction of improvement. ``one`` means that values closer to 1 are better; ``neither`` means that no
            direction is better, so the number is reported without a comparison.
    """

    name: str
    better: Better


@dataclass(frozen=True)
class Study:
    """A checked study.

    Attributes:
        name: Name of the study file without its suffix.
        question: Question that the study answers, one sentence.
        recipe: Path of the recipe file.
        seeds: Seeds; every variant has one trial at each.
        baseline: Name of the variant that all others are compared with.
        metrics: Numbers that answer the question, the most important first.
        variants: Variant → factor → deltas; a delta is ``<stage>.<key>`` or ``<stage>.needs.<role>`` → value.
        overrides: Deltas of all variants. A variant's own deltas take precedence.
        threads: CPU threads that each stage computes with.
        protocol: Name of the protocol that scores all trials; None uses the recipe's own.
        budget: Budget of each variant's training of one stage; None leaves the steps to the configs.
        allow: Names of the user's own packages whose classes the configs may name.

    Raises:
        UserError: If a value is out of range or contradicts another.
    """

    name: str
    question: str
    recipe: str
    seeds: list[Seed]
    baseline: str
    metrics: list[StudyMetric]
    variants: dict[str, Factors]
    overrides: dict[str, Any] = field(default_factory=dict)
    threads: PositiveInt = 2
    protocol: str | None = None
    budget: Budget | None = None
    allow: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check(self.seeds, list[Seed], f"{self.name}.seeds")
        check(self.threads, PositiveInt, f"{self.name}.threads")
        if not self.seeds:
            raise UserError(f"{self.name}.seeds: the list is empty; give at least one seed, for example [0, 1, 2].")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"{self.name}.seeds: {self.seeds} repeats a seed; list every seed once.")
        self._check_variants()
        self._check_metrics()

    def _check_variants(self) -> None:
        known = ", ".join(self.variants)
        if self.baseline not in self.variants:
            raise UserError(
                f"{self.name}.baseline: there is no variant `{self.baseline}`; the variants are {known}.",
                suggestion=nearest(self.baseline, self.variants),
            )
        if len(self.variants) < 2:
            raise UserError(
                f"{self.name}.variants: `{known}` is the only variant, so there is nothing to compare; add another."
            )
        sections = {f"{self.name}.overrides": self.overrides} | {
            f"{self.name}.variants.{variant}": factor
            for variant, factors in self.variants.items()
            for factor in factors.values()
        }
        for section, deltas in sections.items():
            for key, value in deltas.items():
                if key.split(".")[1:2] == ["needs"]:
                    check(value, str | None, f"{section}.{key}")

    def _check_metrics(self) -> None:
        if not self.metrics:
            raise UserError(
                f"{self.name}.metrics: the list is empty; name at least one, for example {{name: law, better: higher}}."
            )
        for index, metric in enumerate(self.metrics):
            if metric.better == "neither":
                raise UserError(
                    f"{self.name}.metrics.{index}.better: must be one of `lower`, `higher`, `one`, got 'neither', as a "
                    "study compares its variants on every metric."
                )

    @property
    def order(self) -> list[str]:
        """Names of the variants, the baseline first."""
        return [self.baseline, *(name for name in self.variants if name != self.baseline)]

    def deltas(self, variant: str) -> dict[str, Any]:
        """Return all changes of a variant to the recipe, including the study's overrides."""
        factors = self.variants[variant].values()
        return self.overrides | {key: value for factor in factors for key, value in factor.items()}

    def factors(self, variant: str) -> list[str]:
        """Return the factors in which a variant differs from the baseline."""
        return factors_changed(self.variants[self.baseline], self.variants[variant])

    @property
    def warnings(self) -> list[str]:
        """Sentences about variants whose differences cannot be attributed to one factor.

        There is no warning about a variant if, for each of its factors, another variant differs from it in that factor
        alone, as in a product.
        """
        found = []
        for name in self.order[1:]:
            others = [factors_changed(one, self.variants[name]) for one in self.variants.values()]
            factors = self.factors(name)
            if len(factors) > 1 and any([factor] not in others for factor in factors):
                found.append(
                    f"{name} differs from {self.baseline} in {len(factors)} factors ({', '.join(factors)}); their "
                    "effects cannot be separated by this variant alone."
                )
        return found
