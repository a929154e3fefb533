"""A study resolved to all its stages, checked before anything runs, and stored with its results."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mav_lightning.ablation.budget import steps_within
from mav_lightning.ablation.deltas import check_deltas, deltas_for_all
from mav_lightning.ablation.metrics import check_metrics
from mav_lightning.ablation.study import Study
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.json_files import write_json
from mav_lightning.common.schema import Seed, read_json
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.recipe import Recipe, plan_recipe
from mav_lightning.runs.records import RunTags
from mav_lightning.runs.score_check import check_scores, scored_clips
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["STUDY", "Plan", "Trial", "freeze", "plan_study", "read_plan"]

STUDY = "study.json"


@dataclass(frozen=True)
class Trial:
    """One variant at one seed.

    Attributes:
        variant: Name of the variant.
        seed: Seed of data order, initial weights and sampling noise, shared with the other variants' trials.
        stages: Name → stage, each after the stages it needs.
    """

    variant: str
    seed: int
    stages: dict[str, Stage]

    @property
    def score(self) -> Stage:
        """The stage whose ``results.json`` holds the trial's results."""
        return next(stage for stage in self.stages.values() if stage.kind == "score")

    @property
    def sample(self) -> Stage:
        """The stage that samples the scored clips."""
        scored = self.score.needs.values()
        return next(stage for stage in self.stages.values() if stage.kind == "sample" and stage.id in scored)


@dataclass(frozen=True)
class Plan:
    """A study and all its trials.

    Attributes:
        study: The study.
        trials: One per seed and variant, ordered by seed, so that the first pairs are complete early.
    """

    study: Study
    trials: list[Trial]

    @property
    def stages(self) -> list[Stage]:
        """All stages, each once even if several trials share it, and after the stages it needs."""
        return list({stage.id: stage for trial in self.trials for stage in trial.stages.values()}.values())

    def trial(self, variant: str, seed: int) -> Trial:
        """Return the trial of a variant at a seed."""
        return next(trial for trial in self.trials if (trial.variant, trial.seed) == (variant, seed))

    def shared(self, trial: Trial, name: str) -> bool:
        """Return whether all variants that have a stage `name`, at least two, share that of `trial` at its seed."""
        siblings = [one.stages[name] for one in self.trials if one.seed == trial.seed and name in one.stages]
        return len(siblings) > 1 and all(one == trial.stages[name] for one in siblings)


@dataclass(frozen=True)
class FrozenTrial:
    """A trial as ``study.json`` records it.

    Attributes:
        variant: Name of the variant.
        seed: Seed of the trial.
        stages: Name → stage id.
    """

    variant: str
    seed: Seed
    stages: dict[str, str]


@dataclass(frozen=True)
class FrozenPlan:
    """Content of ``study.json``: a study as it was started, with its overrides applied.

    Attributes:
        study: Question, variants, seeds and metrics.
        trials: One entry for each variant and seed, with the ids of its stages.
    """

    study: Study
    trials: list[FrozenTrial]


def plan_study(study: Study, recipe: Recipe) -> Plan:
    """Resolve every trial of a study to its stages.

    Args:
        study: The study.
        recipe: The study's recipe.

    Raises:
        UserError: If a stage, key, role or metric is unknown, a value does not fit its target's type, a delta or
            variant changes nothing, two variants are equal, the recipe does not end in one score stage of sampled
            clips, or the clips could not be scored under the protocol, see `check_scores`.
    """
    scores = [name for name, spec in recipe.stages.items() if spec.defaults["kind"] == "score"]
    under = deltas_for_all(study, recipe)
    if study.budget and study.budget.stage not in recipe.stages:
        raise UserError(
            f"{study.name}.budget.stage: the recipe has no stage `{study.budget.stage}`; its stages are "
            f"{', '.join(recipe.stages)}.",
            suggestion=nearest(study.budget.stage, recipe.stages),
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
        clips = scored_clips(one.score, one.stages)
        check_metrics(study.name, study.metrics, one.score.config, clips.facts if clips else None)
    check_scores(study.name, {one.variant: one.stages for one in first})
    return Plan(study, trials)


def freeze(plan: Plan, root: Path) -> None:
    """Write ``study.json`` and every ``stage.json`` of a plan, so that later edits of configs do not change it.

    Each unfinished stage also gets ``tags.json``, with which its training labels logs; see `RunTags`.

    Args:
        plan: The plan.
        root: Folder of the study.
    """
    ledger = Ledger(root)
    for stage in plan.stages:
        folder = ledger.folder(stage)
        folder.create(stage)
        if not folder.done_file.exists():
            write_json(folder.tags_file, asdict(_tags(plan, stage)))
    trials = [
        FrozenTrial(trial.variant, trial.seed, {name: stage.id for name, stage in trial.stages.items()})
        for trial in plan.trials
    ]
    write_json(root / STUDY, asdict(FrozenPlan(plan.study, trials)))


def read_plan(root: Path) -> Plan:
    """Read the plan that `freeze` wrote.

    Args:
        root: Folder of the study.

    Raises:
        UserError: If the folder is missing or holds no valid study, or a stage folder is missing.
    """
    way_out = f"give the folder of a study, which `mav ablate … --out {root}` creates"
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder; {way_out}.")
    frozen: FrozenPlan = read_json(root / STUDY, FrozenPlan, way_out)
    if not frozen.trials:
        raise UserError(f"{root / STUDY}: has no trials; {way_out}.")
    folders = {folder.name.rpartition("-")[2]: StageFolder(folder) for folder in (root / "stages").glob("*-*")}
    stages = {id: _read_stage(root, id, folders) for trial in frozen.trials for id in trial.stages.values()}
    trials = [
        Trial(trial.variant, trial.seed, {name: replace(stages[id], name=name) for name, id in trial.stages.items()})
        for trial in frozen.trials
    ]
    return Plan(frozen.study, trials)


def _read_stage(root: Path, id: str, folders: Mapping[str, StageFolder]) -> Stage:
    if id not in folders:
        raise UserError(f"{root}: stage {id} of the study has no folder; run `mav ablate` again to create it.")
    return folders[id].read_stage()


def _tags(plan: Plan, stage: Stage) -> RunTags:
    users = [trial for trial in plan.trials if any(one.id == stage.id for one in trial.stages.values())]
    seeds = list({trial.seed for trial in users})
    variants = list(dict.fromkeys(trial.variant for trial in users))
    return RunTags(plan.study.name, variants, seeds[0] if len(seeds) == 1 else None)


def _check_ends(recipe: Recipe, trial: Trial) -> None:
    """Check that a recipe ends in one score stage, of the clips of one sample stage."""
    scores = [name for name, stage in trial.stages.items() if stage.kind == "score"]
    if len(scores) != 1:
        found = ", ".join(scores) or "none"
        raise UserError(f"{recipe.where}: a study needs a recipe with exactly one stage of kind score, found {found}.")
    kinds = [stage.kind for stage in trial.stages.values() if stage.id in trial.score.needs.values()]
    if kinds.count("sample") != 1:
        found = ", ".join(kinds) or "nothing"
        raise UserError(f"{recipe.where}: stage `{scores[0]}` must need one stage of kind sample, it needs {found}.")


def _check_differences(study: Study, trials: list[Trial]) -> None:
    """Reject variants that resolve to the same stages: their comparison would be empty."""
    seen: dict[frozenset[str], str] = {}
    baseline_first = sorted(trials, key=lambda trial: trial.variant != study.baseline)
    for trial in baseline_first:
        content = frozenset(stage.id for stage in trial.stages.values())
        twin = seen.setdefault(content, trial.variant)
        if twin == study.baseline != trial.variant:
            raise UserError(
                f"{study.name}: variant `{trial.variant}` changes nothing and equals the baseline `{twin}`; change its "
                "deltas or remove it."
            )
        if twin != trial.variant:
            raise UserError(f"{study.name}: variants `{twin}` and `{trial.variant}` are equal; remove one of them.")
