"""A study worked out to the last stage, checked before anything runs, and frozen beside its results."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mav_lightning.ablation.budget import Budget, steps_within
from mav_lightning.ablation.deltas import check_deltas, deltas_for_all
from mav_lightning.ablation.metrics import check_metrics
from mav_lightning.ablation.study import Metric, Study
from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.common.json_files import read_json, write_json
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.recipe import Recipe, plan_recipe
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["STUDY", "Plan", "Trial", "freeze", "plan_study", "read_plan"]

STUDY = "study.json"


@dataclass(frozen=True)
class Trial:
    """One variant at one seed.

    Attributes:
        variant: Its name.
        seed: Shared with the other variants' trials, so that data order, initial weights and noise are too.
        stages: Name → stage, needed ones first.
    """

    variant: str
    seed: int
    stages: dict[str, Stage]

    @property
    def score(self) -> Stage:
        """The stage whose ``results.json`` is the trial's result."""
        return next(stage for stage in self.stages.values() if stage.kind == "score")

    @property
    def sample(self) -> Stage:
        """The stage whose clips are scored."""
        scored = self.score.needs.values()
        return next(stage for stage in self.stages.values() if stage.kind == "sample" and stage.id in scored)


@dataclass(frozen=True)
class Plan:
    """A study and all its trials, seed by seed, so that the first pair is complete early."""

    study: Study
    trials: list[Trial]

    @property
    def stages(self) -> list[Stage]:
        """Every stage once, needed ones first, however many trials share it."""
        return list({stage.id: stage for trial in self.trials for stage in trial.stages.values()}.values())

    def trial(self, variant: str, seed: int) -> Trial:
        """The trial of a variant at a seed."""
        return next(trial for trial in self.trials if (trial.variant, trial.seed) == (variant, seed))

    def shared(self, trial: Trial, name: str) -> bool:
        """Whether several variants have a stage `name` at the seed of `trial`, and all of them the very one it has."""
        siblings = [one.stages[name] for one in self.trials if one.seed == trial.seed and name in one.stages]
        return len(siblings) > 1 and all(one == trial.stages[name] for one in siblings)


def plan_study(study: Study, recipe: Recipe) -> Plan:
    """Resolves every trial to its stages.

    Raises:
        UserError: An unknown stage, key or role, a delta or variant that changes nothing, one that equals another, a
            metric that the protocol does not give, or a recipe that does not end in one score stage of sampled clips.
    """
    scores = [name for name, spec in recipe.stages.items() if spec.defaults["kind"] == "score"]
    under = deltas_for_all(study, recipe)
    if study.budget and study.budget.stage not in recipe.stages:
        near = did_you_mean(study.budget.stage, recipe.stages)
        raise UserError(
            f"{study.name}: `budget.stage`: no stage `{study.budget.stage}`{near}; the recipe has "
            f"{', '.join(recipe.stages)}."
        )

    def trial(variant: str, seed: int) -> Trial:
        where = f"{study.name}, variant `{variant}`"
        deltas = under | study.deltas(variant)
        stages = plan_recipe(recipe, deltas, seed, where, scores)
        if study.budget and study.budget.stage in stages:
            steps = steps_within(study.budget, stages[study.budget.stage].config)
            stages = plan_recipe(recipe, deltas | {f"{study.budget.stage}.fit.steps": steps}, seed, where, scores)
        return Trial(variant, seed, stages)

    trials = [trial(variant, seed) for seed in study.seeds for variant in study.variants]
    first = trials[: len(study.variants)]
    _check_ends(recipe, trials[0])
    check_deltas(study, recipe, {one.variant: list(one.stages) for one in first})
    _check_differences(study, first)
    for one in first:
        check_metrics(study.name, study.metrics, one.score.config)
    return Plan(study, trials)


def freeze(plan: Plan, root: Path) -> None:
    """Writes the plan to ``root/study.json`` and every ``stage.json``: later edits of configs change nothing of it."""
    ledger = Ledger(root)
    for stage in plan.stages:
        ledger.folder(stage).create(stage)
    trials = [
        {
            "variant": trial.variant,
            "seed": trial.seed,
            "stages": {name: stage.id for name, stage in trial.stages.items()},
        }
        for trial in plan.trials
    ]
    write_json(root / STUDY, {"study": asdict(plan.study), "trials": trials})


def read_plan(root: Path) -> Plan:
    """Reads what `freeze` wrote.

    Raises:
        UserError: No such folder, no study in it, or a stage folder that is gone.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder of a study, as `mav ablate … --out {root}` makes it.")
    content = read_json(root / STUDY)
    if content is None:
        raise UserError(f"{root}: holds no {STUDY}; give the folder of a study, as `mav ablate … --out DIR` makes it.")
    stages = {folder.name.rpartition("-")[2]: StageFolder(folder) for folder in (root / "stages").glob("*-*")}
    read: dict[str, Stage] = {}

    def stage(id: str) -> Stage:
        if id not in read:
            if id not in stages:
                raise UserError(f"{root}: stage {id} of the study has no folder; run `mav ablate` again to make it.")
            read[id] = stages[id].read_stage()
        return read[id]

    written, budget = content["study"], content["study"].get("budget")
    study = written | {
        "metrics": [Metric(**metric) for metric in written["metrics"]],
        "budget": Budget(**budget) if budget else None,
    }
    trials = [
        Trial(
            trial["variant"],
            trial["seed"],
            {name: replace(stage(id), name=name) for name, id in trial["stages"].items()},
        )
        for trial in content["trials"]
    ]
    return Plan(Study(**study), trials)


def _check_ends(recipe: Recipe, trial: Trial) -> None:
    scores = [name for name, stage in trial.stages.items() if stage.kind == "score"]
    if len(scores) != 1:
        found = ", ".join(scores) or "none"
        raise UserError(f"{recipe.where}: a study needs a recipe with exactly one stage of kind score, found {found}.")
    kinds = [stage.kind for stage in trial.stages.values() if stage.id in trial.score.needs.values()]
    if kinds.count("sample") != 1:
        found = ", ".join(kinds) or "nothing"
        raise UserError(f"{recipe.where}: stage `{scores[0]}` must need one stage of kind sample, it needs {found}.")


def _check_differences(study: Study, trials: list[Trial]) -> None:
    """Refuses variants that come to the same stages, as comparing them would compare a thing with itself."""
    seen: dict[frozenset[str], str] = {}
    baseline_first = sorted(trials, key=lambda trial: trial.variant != study.baseline)
    for trial in baseline_first:
        content = frozenset(stage.id for stage in trial.stages.values())
        twin = seen.setdefault(content, trial.variant)
        if twin == study.baseline != trial.variant:
            raise UserError(
                f"{study.name}: variant `{trial.variant}` changes nothing, it is the baseline `{twin}`; change its "
                "deltas or remove it."
            )
        if twin != trial.variant:
            raise UserError(f"{study.name}: variants `{twin}` and `{trial.variant}` are the same; remove one of them.")
