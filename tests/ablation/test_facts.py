from pathlib import Path
from typing import Any

from mav_lightning.ablation.paired_statistics import verdict
from mav_lightning.ablation.report.answer import answer
from mav_lightning.ablation.report.cost_tables import stage_costs, variant_costs
from mav_lightning.ablation.report.facts import gather_facts
from mav_lightning.ablation.report.origins import origins
from mav_lightning.ablation.results import StudyResults, TrialResult
from mav_lightning.ablation.study import Study, StudyMetric
from mav_lightning.ablation.study_plan import Plan, Trial
from mav_lightning.runs.stage_folder import Stage

METRICS = [StudyMetric("law", "higher"), StudyMetric("fvd", "lower")]
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
        "On law (higher is better), at both seeds, on is ahead of off (0.850 vs. 0.150). "
        "At both seeds, off is ahead of on on fvd (30.5 vs. 41.0)."
    )


def test_only_what_a_test_supports_is_called_beating() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0), (0.9, 41.0)], "off": [(0.1, 41.0), (0.0, 50.0), (0.2, 42.0)]})

    assert answer(found) == (
        "On law (higher is better), at all 3 seeds, on beats off (0.867 vs. 0.100). "
        "At all 3 seeds, on is ahead of off on fvd (41.0 vs. 44.3)."
    )


def test_with_many_variants_only_supported_differences_are_listed() -> None:
    like = {name: [(0.9, 40.0), (0.7, 43.0), (0.95, 40.0)] for name in ("a", "b", "c")}
    base = [(0.9, 41.0), (0.8, 42.0), (0.9, 42.0)]

    assert answer(results({"on": base, **like, "off": [(0.1, 41.0), (0.0, 50.0), (0.2, 42.0)]})) == (
        "On law (higher is better), on beats off (0.867 vs. 0.100). No test supports any other difference."
    )
    assert answer(results({"on": base, **like, "d": like["a"]})) == (
        "On law (higher is better), no test supports a difference between on and another variant. "
        "The same holds for the other metrics."
    )
    two = {name: pairs[:2] for name, pairs in {"on": base, **like, "off": [(0.1, 41.0), (0.0, 50.0)]}.items()}
    assert answer(results(two)).startswith("With fewer than 3 seeds, on cannot be tested against the other")
    nothing = {name: [(None, None)] * 3 for name in "abcd"}
    assert answer(results({"on": base, **nothing})) == "No pair of trials is complete yet."


def test_the_verdict_is_not_voided_by_a_variant_without_results() -> None:
    some = [(0.9, 40.0), (0.8, 42.0), (0.9, 41.0)]
    found = results({"on": some, "off": [(0.1, 41.0), (0.0, 50.0), (0.2, 42.0)], "dead": [(None, None)] * 3})

    assert gather_facts(found)["verdict"] == verdict(3, 1)
    assert gather_facts(results({"on": some, "dead": [(None, None)] * 3}))["verdict"] == verdict(0, 1)


def test_a_number_without_a_direction_is_listed_but_not_compared() -> None:
    found = results({"on": [(0.9, 40.0)] * 3, "off": [(0.1, 30.0)] * 3})
    for trial, width in zip(found.trials, (0.1, 0.2, 0.1, 0.3, 0.1, 0.4), strict=True):
        trial.scores["metrics"]["displacement"] = {"value": width, "better": "neither"}
    (group,) = [group for group in gather_facts(found)["other_metrics"] if group["metric"] == "displacement"]

    assert [(row["variant"], row["values"]) for row in group["rows"]] == [
        ("on", [0.1, 0.1, 0.1]), ("off", [0.2, 0.3, 0.4]),
    ]  # fmt: skip
    assert [(row["comparison"], row["mark"]) for row in group["rows"]] == [(None, ""), (None, "")]


def test_the_cost_of_a_training_whose_folder_is_gone_is_that_of_the_others() -> None:
    found = results({"on": [(0.9, 40.0)], "off": [(0.1, 50.0)]})
    for result in found.trials:
        del result.done["decoder"]

    assert [(row["seconds"], row["steps"], row["parameters"]) for row in variant_costs(found)] == [(20.0, 0, None)] * 2


def test_the_answer_admits_that_seeds_disagree_or_show_nothing() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0)], "off": [(1.0, 40.0), (0.2, 42.0)]})

    assert answer(found) == (
        "On law (higher is better), the seeds disagree between on and off. Between on and off the two are equal on fvd."
    )


def test_the_answer_counts_the_seeds_of_a_majority() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0), (0.7, 41.0)], "off": [(0.8, 41.0), (0.9, 43.0), (0.5, 40.0)]})

    assert answer(found).startswith("On law (higher is better), at 2 of 3 seeds on is ahead of off (0.800 vs. 0.733).")


def test_a_first_metric_without_values_is_not_passed_over() -> None:
    found = results({"on": [(None, 40.0), (None, 42.0)], "off": [(None, 30.0), (None, 31.0)]})

    assert answer(found).startswith(
        "On law (higher is better), no pair of trials has values. At both seeds, off is ahead"
    )


def test_the_answer_counts_only_seeds_that_have_both() -> None:
    found = results({"on": [(0.9, 40.0), (0.8, 42.0), (0.9, 41.0)], "off": [(0.1, 50.0), (None, None), (0.2, 51.0)]})

    assert answer(found).startswith("On law (higher is better), at both seeds that have both, on is ahead of off (")


def test_the_answer_has_one_clause_for_each_variant() -> None:
    found = results({"on": [(0.9, 40.0)], "off": [(0.1, 50.0)], "half": [(0.95, 30.0)]})

    assert answer(found) == (
        "On law (higher is better), at the one seed that has both, on is ahead of off (0.900 vs. 0.100) and half is "
        "ahead of on (0.950 vs. 0.900). At the one seed that has both, on is ahead of off on fvd (40.0 vs. 50.0). "
        "At the one seed that has both, half is ahead of on on fvd (30.0 vs. 40.0)."
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
