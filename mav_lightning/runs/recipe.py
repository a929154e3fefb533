"""Recipes: the stages of a system, and which needs which."""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mav_lightning.common.configs import leaves
from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.config import find_config, load_config, read_yaml
from mav_lightning.runs.contents import with_contents
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Recipe", "StageSpec", "load_recipe", "plan_recipe"]


@dataclass(frozen=True)
class StageSpec:
    """A stage as a recipe names it.

    Attributes:
        config: The stage's config file.
        needs: Role → name of the stage that fills it; None leaves the role empty on purpose.
        settings: Config key → value, where the recipe wants other than the file says.
        defaults: What the file resolves to with these settings.
    """

    config: str
    needs: dict[str, str | None]
    settings: dict[str, Any]
    defaults: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A system's stages, needed ones first.

    Attributes:
        where: The file, for messages.
        stages: Name → spec.
    """

    where: str
    stages: dict[str, StageSpec]

    @property
    def targets(self) -> list[str]:
        """The stages that nothing needs: what the recipe is for."""
        needed = {name for spec in self.stages.values() for name in spec.needs.values()}
        return [name for name in self.stages if name not in needed]


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe: ``stages: {name: {config: FILE, needs: {role: stage}, set: {key: value}}}``.

    Raises:
        UserError: No such file, unknown keys, a need of an unknown stage, or a circle of needs.
    """
    file = find_config(path)
    content = read_yaml(file)
    stages = content.get("stages")
    if set(content) != {"stages"} or not isinstance(stages, dict) or not stages:
        raise UserError(f"{file}: a recipe holds `stages:` and nothing else, got {', '.join(content) or 'nothing'}.")
    specs = {}
    for name, entry in stages.items():
        if not isinstance(entry, dict) or not {"config"} <= set(entry) <= {"config", "needs", "set"}:
            raise UserError(
                f"{file}: stage `{name}` must read `{{config: FILE, needs: {{role: stage}}, set: {{key: value}}}}`, "
                f"`needs` and `set` where wanted; got {entry}."
            )
        for key in ("needs", "set"):
            if not isinstance(entry.get(key) or {}, dict):
                raise UserError(f"{file}: stage `{name}`: `{key}` must hold `key: value` pairs, got {entry[key]}.")
        settings = dict(entry.get("set") or {})
        try:
            defaults = load_config(entry["config"], extra=settings)
        except UserError as error:
            raise UserError(f"{file}: stage `{name}`: {error}") from error
        specs[name] = StageSpec(entry["config"], dict(entry.get("needs") or {}), settings, defaults)
    recipe = Recipe(str(file), specs)
    order = _ordered(recipe.where, {name: spec.needs for name, spec in specs.items()})
    return Recipe(str(file), {name: specs[name] for name in order})


def plan_recipe(
    recipe: Recipe, deltas: Mapping[str, Any], seed: int | None, where: str, targets: Sequence[str] | None = None
) -> dict[str, Stage]:
    """Resolves a recipe to stages with ids.

    Args:
        recipe: The system.
        deltas: ``<stage>.<config key>`` → value, or ``<stage>.needs.<role>`` → stage name (None: leave it empty).
        seed: Set in every stage config that has the key `seed`; None leaves the configs' own.
        where: Begins messages about `deltas`, for example ``"quick.yaml, variant per_frame"``.
        targets: Stages that are wanted; None for the recipe's own.

    Returns:
        Name → stage, needed ones first; only what the targets still need.

    Raises:
        UserError: An unknown stage, key or role, a role without a stage, or a circle.
    """
    settings, needs = _split_deltas(recipe, deltas, where)
    planned: dict[str, Stage] = {}
    for name in _reachable(_ordered(where, needs), needs, recipe.targets if targets is None else targets):
        spec = recipe.stages[name]
        extra = ({"seed": seed} if seed is not None and "seed" in spec.defaults else {}) | settings[name]
        try:
            config = load_config(spec.config, extra=spec.settings | extra) if extra else spec.defaults
        except UserError as error:
            raise UserError(f"{where}: stage `{name}`: {error}") from error
        _check_roles(recipe, name, config, needs[name])
        here = f"{where}: stage `{name}`"
        config = with_contents(_without_empty(config, needs[name], here), here)
        filled = {role: planned[needed].id for role, needed in needs[name].items() if needed is not None}
        planned[name] = Stage.of(name, config, filled)
    return planned


def _split_deltas(
    recipe: Recipe, deltas: Mapping[str, Any], where: str
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, str | None]]]:
    """Config settings by stage, and the recipe's needs with the deltas' put over them."""
    settings: dict[str, dict[str, Any]] = {name: {} for name in recipe.stages}
    needs = {name: dict(spec.needs) for name, spec in recipe.stages.items()}
    for key, value in deltas.items():
        stage, _, rest = key.partition(".")
        if stage not in recipe.stages:
            near = did_you_mean(stage, recipe.stages)
            raise UserError(f"{where}: `{key}`: no stage `{stage}`{near}; the recipe has {', '.join(recipe.stages)}.")
        if not rest:
            raise UserError(f"{where}: `{key}` names a stage and no key of it; write `{stage}.<key>`.")
        if rest.startswith("needs."):
            role = rest.removeprefix("needs.")
            if role not in needs[stage]:
                raise UserError(f"{where}: `{key}`: {_no_role(stage, role, needs[stage])}")
            needs[stage][role] = value
        else:
            settings[stage][rest] = value
    return settings, needs


def _ordered(where: str, needs: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Needed stages first, else as they are written: what stands higher up starts sooner."""
    for name, roles in needs.items():
        for role, needed in roles.items():
            if needed is not None and needed not in needs:
                near = did_you_mean(str(needed), needs)
                raise UserError(
                    f"{where}: `{name}.needs.{role}` is `{needed}`, no stage{near}; there are {', '.join(needs)}."
                )
    graph = {name: [needed for needed in roles.values() if needed is not None] for name, roles in needs.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{where}: stages need each other in a circle ({circle}); change one of the needs.") from error
    ordered: dict[str, None] = {}

    def place(name: str) -> None:
        if name not in ordered:
            for needed in graph[name]:
                place(needed)
            ordered[name] = None

    for name in graph:
        place(name)
    return list(ordered)


def _reachable(order: list[str], needs: Mapping[str, Mapping[str, str | None]], targets: Sequence[str]) -> list[str]:
    wanted = set(targets)
    for name in reversed(order):
        if name in wanted:
            wanted |= {needed for needed in needs[name].values() if needed is not None}
    return [name for name in order if name in wanted]


def _check_roles(recipe: Recipe, name: str, config: Mapping[str, Any], given: Mapping[str, str | None]) -> None:
    roles = config.get("needs", {})
    for role in given:
        if role not in roles:
            raise UserError(f"{recipe.where}: {_no_role(name, role, roles)}")
    for role in roles:
        if role not in given:
            raise UserError(
                f"{recipe.where}: stage `{name}` needs `{role}`; add `needs: {{{role}: <stage>}}`, or null for none."
            )


def _without_empty(config: dict[str, Any], given: Mapping[str, str | None], where: str) -> dict[str, Any]:
    """The config without the roles that are left empty; no target's argument may refer to them any more."""
    empty = {role for role, stage in given.items() if stage is None}
    if not empty:
        return config
    kept = _drop(config, {f"@{role}" for role in empty})
    for path, value in leaves(kept):
        if isinstance(value, str) and value.startswith("@") and value[1:].partition("/")[0] in empty:
            owner = path.rpartition(".")[0]
            raise UserError(f"{where}: nothing fills `{value[1:]}`, which `{path}` needs; set `{owner}: null` as well.")
    return kept


def _drop(value: Any, unfilled: set[str]) -> Any:
    """Leaves out of every plain mapping, which is no target's arguments, what stands for an unfilled role."""
    if not isinstance(value, Mapping):
        return value
    plain = "_target_" not in value and "_network_" not in value
    return {
        key: _drop(item, unfilled)
        for key, item in value.items()
        if not (plain and isinstance(item, str) and item in unfilled)
    }


def _no_role(stage: str, role: str, roles: Mapping[str, Any]) -> str:
    return f"stage `{stage}` has no role `{role}`{did_you_mean(role, roles)}; it needs {', '.join(roles) or 'nothing'}."
