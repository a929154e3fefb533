from pathlib import Path
from typing import Any

from mav_lightning.ablation.plan import Plan, Trial
from mav_lightning.ablation.report.answer import answer
from mav_lightning.ablation.report.cost import stage_costs, variant_costs
from mav_lightning.ablation.report.origins import origins
from mav_lightning.ablation.results import StudyResults, TrialResult
from mav_lightning.ablation.study import Metric, Study
from mav_lightning.runs.stage import Stage

METRICS = [Metric("law", "higher"), Metric("fvd", "lower")]
MACHINE = {
    "threads": 2,
    "device": "cpu",
    "commit": "abc",
    "dirty": None,
    "python": "3.11",
    "versions": {"torch": "2.13"},
}


def results(values: dict[str, list[tuple[float | None, float | None]]], **done: dict[str, Any]) -> StudyResults:
    """A study of variants whose trials have (law, fvd) seed by seed; `done` overrides the record of a stage's name."""
    seeds = list(range(len(next(iter(values.values())))))
    study = Study("quick", "?", "recipe", seeds, next(iter(values)), METRICS, {name: {} for name in values})
    trials = []
    for seed in seeds:
        decoder = Stage.of("decoder", {"kind": "train", "seed": seed}, {})
        for variant in values:
            sample = Stage.of("sample", {"kind": "sample", "variant": variant}, {"decoder": decoder.id})
            score = Stage.of("score", {"kind": "score"}, {"generated": sample.id})
            stages = {stage.name: stage for stage in (decoder, sample, score)}
            law, fvd = values[variant][seed]
            scores = {"metrics": {"law": {"value": law}, "fvd": {"value": fvd}}}
            cost = {"seconds": 10.0, "steps": 100, "parameters": 5, "peak_rss_bytes": 7}
            records = {name: MACHINE | cost | done.get(f"{name}{seed}", {}) for name in stages}
            trials.append(TrialResult(Trial(variant, seed, stages), {}, scores, records, None))
    return StudyResults(Path(), Plan(study, [trial.trial for trial in trials]), trials)


def test_the_answer_names_the_winner_on_each_side() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0)], "off": [(0.1, 30.0), (0.2, 31.0)]})

    assert answer(found) == (
        "In both seeds on beats off on law (0.850 against 0.150), but off beats on on fvd (30.5 against 41.0)."
    )


def test_the_answer_admits_that_seeds_disagree_or_show_nothing() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0)], "off": [(1.0, 40.0), (0.2, 42.0)]})

    assert answer(found) == "Between on and off the two are level on fvd, while the seeds disagree on law."


def test_the_answer_counts_only_seeds_that_have_both() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0), (0.9, 41.0)], "off": [(0.1, 50.0), (None, None), (0.2, 51.0)]})

    assert answer(found).startswith("In both seeds that have both on beats off on law")


def test_the_answer_has_one_clause_for_each_variant() -> None:
    found = results({"on": [(0.9, 40.0)], "off": [(0.1, 50.0)], "half": [(0.95, 30.0)]})

    assert answer(found) == (
        "In the one seed that has both, on beats off on law (0.900 against 0.100) and fvd (40.0 against 50.0); "
        "in the one seed that has both, half beats on on law (0.950 against 0.900) and fvd (30.0 against 40.0)."
    )


def test_shared_stages_cost_once_and_count_in_every_trial() -> None:
    found = results({"on": [(0.9, 40.0)] * 2, "off": [(0.1, 50.0)] * 2})

    by_stage = {(row["stage"], *row["variants"]): row["runs"] for row in stage_costs(found)}
    assert by_stage[("decoder", "on", "off")] == 2
    assert [(row["seconds"], row["steps"]) for row in variant_costs(found)] == [(30.0, 100)] * 2


def test_siblings_that_differ_in_machine_or_code_are_pointed_out() -> None:
    same = results({"on": [(0.9, 40.0)] * 2, "off": [(0.1, 50.0)] * 2})
    found = results({"on": [(0.9, 40.0)] * 2, "off": [(0.1, 50.0)] * 2}, decoder1={"threads": 4, "commit": None})

    assert origins(same)["warnings"] == []
    assert origins(found)["warnings"] == [
        "The decoder stages differ in thread count: 2, 4.",
        "The decoder stages differ in commit: abc, none.",
    ]
