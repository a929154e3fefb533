"""Recipes: the stages of a system, and which stage needs which."""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mav_lightning.common.configs import leaves
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import build
from mav_lightning.config import find_config, load_config, read_yaml
from mav_lightning.runs.ids import with_contents
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Recipe", "StageSpec", "load_recipe", "plan_recipe"]


@dataclass(frozen=True)
class StageSpec:
    """A stage as a recipe describes it.

    Attributes:
        config: The stage's config file.
        needs: Role → name of the needed stage; None leaves the role empty.
        settings: Config key → value that the recipe sets in place of the file's.
        defaults: Resolved config of the file with these settings.
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
        stages: Name → description.
    """

    where: str
    stages: dict[str, StageSpec]

    @property
    def targets(self) -> list[str]:
        """The stages that no other stage needs: the purpose of the recipe."""
        needed = {name for spec in self.stages.values() for name in spec.needs.values()}
        return [name for name in self.stages if name not in needed]


@dataclass(frozen=True)
class RecipeStage:
    """A stage as the file holds it."""

    config: str
    needs: dict[str, str | None] | None = None
    set: dict[str, Any] | None = None


@dataclass(frozen=True)
class RecipeFile:
    """The content of a recipe file."""

    stages: dict[str, RecipeStage] = field(default_factory=dict)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe: ``stages: {name: {config: FILE, needs: {role: stage}, set: {key: value}}}``.

    Raises:
        UserError: If there is no such file, a key is unknown, a stage needs an unknown one, or needs form a cycle.
    """
    file = find_config(path)
    entries = build(RecipeFile, read_yaml(file), str(file)).stages
    if not entries:
        raise UserError(f"{file}: a recipe needs `stages:` with at least one stage.")
    specs = {}
    for name, entry in entries.items():
        settings = dict(entry.set or {})
        try:
            defaults = load_config(entry.config, extra=settings)
        except UserError as error:
            raise UserError(f"{file}: stage `{name}`: {error}") from error
        specs[name] = StageSpec(entry.config, dict(entry.needs or {}), settings, defaults)
    order = _ordered(str(file), {name: spec.needs for name, spec in specs.items()})
    return Recipe(str(file), {name: specs[name] for name in order})


def plan_recipe(
    recipe: Recipe, deltas: Mapping[str, Any], seed: int | None, where: str, targets: Sequence[str] | None = None
) -> dict[str, Stage]:
    """Resolve a recipe to stages with ids.

    Args:
        recipe: The system.
        deltas: ``<stage>.<config key>`` → value, or ``<stage>.needs.<role>`` → stage name (None: leave it empty).
        seed: Seed set in every stage config that has the key `seed`, unless the recipe itself sets it: then all trials
            share that stage. None keeps the configs' own.
        where: Start of messages about `deltas`, for example ``"quick.yaml, variant per_frame"``.
        targets: Names of the requested stages; None for those that no other stage needs.

    Returns:
        Name → stage, needed ones first; only the targets and what they need.

    Raises:
        UserError: If a stage, key or role is unknown, a role has no stage, or needs form a cycle.
    """
    settings, needs = _split_deltas(recipe, deltas, where)
    planned: dict[str, Stage] = {}
    for name in _reachable(_ordered(where, needs), needs, recipe.targets if targets is None else targets):
        spec = recipe.stages[name]
        seeded = seed is not None and "seed" in spec.defaults and "seed" not in spec.settings
        extra = ({"seed": seed} if seeded else {}) | settings[name]
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
    """Return the settings of each stage, and the recipe's needs overridden by the deltas."""
    settings: dict[str, dict[str, Any]] = {name: {} for name in recipe.stages}
    needs = {name: dict(spec.needs) for name, spec in recipe.stages.items()}
    for key, value in deltas.items():
        stage, _, rest = key.partition(".")
        if stage not in recipe.stages:
            raise UserError(
                f"{where}: `{key}`: no stage `{stage}`; the recipe has {', '.join(recipe.stages)}.",
                suggestion=nearest(stage, recipe.stages),
            )
        if not rest:
            raise UserError(f"{where}: `{key}` names a stage without a key; write `{stage}.<key>`.")
        if rest.startswith("needs."):
            role = rest.removeprefix("needs.")
            if role not in needs[stage]:
                raise _no_role(f"{where}: `{key}`", stage, role, needs[stage])
            needs[stage][role] = value
        else:
            settings[stage][rest] = value
    return settings, needs


def _ordered(where: str, needs: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Order needed stages first, otherwise as written: stages higher up start sooner."""
    for name, roles in needs.items():
        for role, needed in roles.items():
            if needed is not None and needed not in needs:
                raise UserError(
                    f"{where}: `{name}.needs.{role}` is `{needed}`, which is not a stage; there are "
                    f"{', '.join(needs)}.",
                    suggestion=nearest(str(needed), needs),
                )
    graph = {name: [needed for needed in roles.values() if needed is not None] for name, roles in needs.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{where}: stages need each other in a cycle ({cycle}); change one of the needs.") from error
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
    requested = set(targets)
    for name in reversed(order):
        if name in requested:
            requested |= {needed for needed in needs[name].values() if needed is not None}
    return [name for name in order if name in requested]


def _check_roles(recipe: Recipe, name: str, config: Mapping[str, Any], given: Mapping[str, str | None]) -> None:
    roles = config.get("needs", {})
    for role in given:
        if role not in roles:
            raise _no_role(recipe.where, name, role, roles)
    for role in roles:
        if role not in given:
            raise UserError(
                f"{recipe.where}: stage `{name}` needs `{role}`; add `needs: {{{role}: <stage>}}`, or null for none."
            )


def _without_empty(config: dict[str, Any], given: Mapping[str, str | None], where: str) -> dict[str, Any]:
    """Return the config without its empty roles, which no argument of a target may refer to."""
    empty = {role for role, stage in given.items() if stage is None}
    if not empty:
        return config
    kept: dict[str, Any] = _drop(config, {f"@{role}" for role in empty})
    for path, value in leaves(kept):
        if isinstance(value, str) and value.startswith("@") and value[1:].partition("/")[0] in empty:
            owner = path.rpartition(".")[0]
            raise UserError(
                f"{where}: no stage has the role `{value[1:]}`, which `{path}` needs; set `{owner}: null` as well."
            )
    return kept


def _drop(value: Any, unfilled: set[str]) -> Any:
    """Remove references to unfilled roles from every mapping that does not hold a target's arguments."""
    if not isinstance(value, Mapping):
        return value
    plain = "_target_" not in value and "_network_" not in value
    return {
        key: _drop(item, unfilled)
        for key, item in value.items()
        if not (plain and isinstance(item, str) and item in unfilled)
    }


def _no_role(where: str, stage: str, role: str, roles: Mapping[str, Any]) -> UserError:
    return UserError(
        f"{where}: stage `{stage}` has no role `{role}`; it needs {', '.join(roles) or 'nothing'}.",
        suggestion=nearest(role, roles),
    )
