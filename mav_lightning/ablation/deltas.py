"""Checks that every delta of a study has an effect: one without is a typo, or names a factor that is none."""

from collections.abc import Collection, Mapping
from typing import Any

from mav_lightning.ablation.study import Study
from mav_lightning.common.errors import UserError
from mav_lightning.config import load_config
from mav_lightning.runs.recipe import Recipe

__all__ = ["check_deltas", "deltas_for_all"]

Deltas = Mapping[str, Any]
_BUDGETED = "`budget` sets the steps of this stage, so the key has no effect; remove one of the two."


def deltas_for_all(study: Study, recipe: Recipe) -> dict[str, Any]:
    """Return the deltas that all variants share: the study's protocol for every stage that has one, and its overrides.

    Args:
        study: The study.
        recipe: The study's recipe.
    """
    if not study.protocol:
        return dict(study.overrides)
    defaults = {name: spec.defaults for name, spec in recipe.stages.items()}
    scored = [name for name, config in defaults.items() if config["kind"] == "score" or config.get("protocol")]
    return {f"{name}.protocol": study.protocol for name in scored} | study.overrides


def check_deltas(study: Study, recipe: Recipe, stages: Mapping[str, Collection[str]]) -> None:
    """Check that every delta changes its variant, and that every override applies to a stage of some variant.

    A factor must change every variant that has it. If it has several deltas (a group, or a level of a product), each
    must have an effect in at least one of these variants: `temporal.fit.steps` next to `spatial.fit.steps` does, even
    if a level of another factor leaves out the temporal stage.

    Args:
        study: A study whose plan is valid.
        recipe: The study's recipe.
        stages: Variant → names of its stages.

    Raises:
        UserError: If a delta or an override has no effect.
    """
    for key in study.overrides:
        if study.budget and key == f"{study.budget.stage}.fit.steps":
            raise UserError(f"{study.name}: override `{key}`: {_BUDGETED}")
        if not any(_stage(key) in names for names in stages.values()):
            raise UserError(
                f"{study.name}: override `{key}`: no variant has the stage `{_stage(key)}`, so the key has no effect; "
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
    """Return why a delta has no effect on its variant and how to fix it; None if it has an effect."""
    stage, under = _stage(key), deltas_for_all(study, recipe)
    if stage not in stages:
        return f"this variant has no stage `{stage}`, so the key has no effect; remove it."
    if study.budget and key == f"{study.budget.stage}.fit.steps":
        return _BUDGETED
    own = under | study.deltas(variant)
    without = {other: value for other, value in own.items() if other != key}
    if key in under:
        without[key] = under[key]
    seed = study.seeds[0]
    if _resolved(recipe, stage, own, seed) != _resolved(recipe, stage, without, seed):
        return None
    return f"the value is {own[key]!r} without this delta too, so it changes nothing; change the value or remove it."


def _resolved(recipe: Recipe, stage: str, deltas: Deltas, seed: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a stage's config and its needs (role → stage name); None if the config is not valid."""
    spec = recipe.stages[stage]
    own = {key.partition(".")[2]: value for key, value in deltas.items() if _stage(key) == stage}
    needs = {f"needs.{role}": filler for role, filler in spec.needs.items()}
    needs |= {key: value for key, value in own.items() if key in needs}
    seeded = {"seed": seed} if "seed" in spec.defaults else {}
    settings = {key: value for key, value in own.items() if key not in needs}
    try:
        return load_config(spec.config, extra=spec.settings | seeded | settings), needs
    except UserError:  # without this delta: another is valid only together with it
        return None


def _stage(key: str) -> str:
    return key.partition(".")[0]
