"""Every delta of a study has to do something: one that does nothing is a typo, or tells of a factor that is none."""

from collections.abc import Collection, Mapping
from typing import Any

from mav_lightning.ablation.study import Study
from mav_lightning.common.errors import UserError
from mav_lightning.config import load_config
from mav_lightning.runs.recipe import Recipe

__all__ = ["check_deltas", "deltas_for_all"]

Deltas = Mapping[str, Any]
_BUDGETED = "`budget` says how many steps this stage takes, so the key does nothing; remove one of them."


def deltas_for_all(study: Study, recipe: Recipe) -> dict[str, Any]:
    """What every variant's own deltas are put over: the study's protocol, for scores and floors, and its overrides."""
    if not study.protocol:
        return dict(study.overrides)
    defaults = {name: spec.defaults for name, spec in recipe.stages.items()}
    told = [name for name, config in defaults.items() if config["kind"] == "score" or config.get("protocol")]
    return {f"{name}.protocol": study.protocol for name in told} | study.overrides


def check_deltas(study: Study, recipe: Recipe, stages: Mapping[str, Collection[str]]) -> None:
    """Refuses deltas that change nothing of their variant, and overrides of stages that no variant has.

    A factor has to change each of its variants. Of one with several deltas, a group or a level of a product, each has
    to count in one of the variants with that factor at least: `temporal.fit.steps` beside `spatial.fit.steps` does,
    though another factor's level leaves the temporal stage out.

    Args:
        study: One that can be planned.
        recipe: The study's.
        stages: Variant → names of the stages that it has.

    Raises:
        UserError: Such a delta or override.
    """
    for key in study.overrides:
        if study.budget and key == f"{study.budget.stage}.fit.steps":
            raise UserError(f"{study.name}: override `{key}`: {_BUDGETED}")
        if not any(_stage(key) in names for names in stages.values()):
            raise UserError(
                f"{study.name}: override `{key}`: no variant has the stage `{_stage(key)}`, so the key does nothing; "
                "remove it."
            )
    idle = {
        (variant, name): {key: why for key in factor if (why := _idle(study, recipe, variant, key, stages[variant]))}
        for variant, factors in study.variants.items()
        for name, factor in factors.items()
    }
    for (variant, name), reasons in idle.items():
        factor = study.variants[variant][name]
        alike = [idle[other, name] for other, factors in study.variants.items() if factors.get(name) == factor]
        for key, why in reasons.items():
            if len(reasons) == len(factor) or all(key in others for others in alike):
                raise UserError(f"{study.name}, variant `{variant}`: `{key}`: {why}")


def _idle(study: Study, recipe: Recipe, variant: str, key: str, stages: Collection[str]) -> str | None:
    """Why a delta does nothing for its variant, and the way out; None where it does something."""
    stage, under = _stage(key), deltas_for_all(study, recipe)
    if stage not in stages:
        return f"the stage `{stage}` is no part of this variant, so the key does nothing; remove it."
    if study.budget and key == f"{study.budget.stage}.fit.steps":
        return _BUDGETED
    own = under | study.deltas(variant)
    without = {other: value for other, value in own.items() if other != key}
    if key in under:
        without[key] = under[key]
    seed = study.seeds[0]
    if _resolved(recipe, stage, own, seed) != _resolved(recipe, stage, without, seed):
        return None
    return f"is {own[key]!r} without this delta too, so it changes nothing; give another value, or remove it."


def _resolved(recipe: Recipe, stage: str, deltas: Deltas, seed: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A stage's config, and role → stage that fills it; None where the config is not right."""
    spec = recipe.stages[stage]
    own = {key.partition(".")[2]: value for key, value in deltas.items() if _stage(key) == stage}
    needs = {f"needs.{role}": filler for role, filler in spec.needs.items()}
    needs |= {key: value for key, value in own.items() if key in needs}
    seeded = {"seed": seed} if "seed" in spec.defaults else {}
    settings = {key: value for key, value in own.items() if key not in needs}
    try:
        return load_config(spec.config, extra=spec.settings | seeded | settings), needs
    except UserError:  # without the one delta: another counts only beside it
        return None


def _stage(key: str) -> str:
    return key.partition(".")[0]
