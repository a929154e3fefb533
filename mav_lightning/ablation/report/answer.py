"""The study's answer in one sentence, saying only what the pairs show."""

from mav_lightning.ablation.report.text import decimals, join, number
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.statistics import LEAST, Comparison

__all__ = ["answer"]

_FEW = 3  # variants of which all can be said in one sentence


def answer(results: StudyResults) -> str:
    """Who is better on which of the study's metrics in every seed; where the seeds disagree it says so.

    One variant *beats* another where a star or Student's test after Holm's correction supports it, and else is ahead of
    it: that all of three seeds agree is chance in every fourth comparison of equals. Of more than three variants beside
    the baseline only the former is told.
    """
    study = results.plan.study
    by_variant: dict[str, list[Comparison]] = {name: [] for name in study.order[1:]}
    for metric in study.metrics:
        for comparison in results.compare(metric):
            by_variant[comparison.variant].append(comparison)
    if len(by_variant) > _FEW and any(one.seeds for found in by_variant.values() for one in found):
        return _supported(study.baseline, by_variant)
    clauses = [clause for name, found in by_variant.items() if (clause := _clause(study.baseline, name, found))]
    if not clauses:
        return "No pair of trials is complete yet."
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _supported(baseline: str, by_variant: dict[str, list[Comparison]]) -> str:
    if max(len(one.seeds) for found in by_variant.values() for one in found) < LEAST:
        return (
            f"Fewer than {LEAST} seeds allow no test of {baseline} against so many variants; the table has the pairs."
        )
    clauses = [
        f"{winner} beats {loser} on {join([_with_means(one, winner == baseline) for one in own])}"
        for name, found in by_variant.items()
        for winner, loser, wins in ((baseline, name, False), (name, baseline, True))
        if (own := [one for one in found if one.shown and (one.better > one.worse) == wins])
    ]
    if not clauses:
        return f"No test supports a difference between {baseline} and any other variant."
    return f"{join(clauses)}; no test supports any other difference."


def _clause(baseline: str, variant: str, comparisons: list[Comparison]) -> str:
    paired = [one for one in comparisons if one.seeds]
    won = [one for one in paired if one.better == len(one.seeds)]
    lost = [one for one in paired if one.worse == len(one.seeds)]
    level = [one for one in paired if not one.better and not one.worse]
    mixed = [one for one in paired if one not in won + lost + level]
    parts = []
    for winner, loser, found in ((baseline, variant, lost), (variant, baseline, won)):
        for verb, shown in (("beats", True), ("is ahead of", False)):
            if own := [_with_means(one, winner == baseline) for one in found if one.shown == shown]:
                parts.append(f"{winner} {verb} {loser} on {join(own)}")
    text = f"{_in_seeds(paired)} {join(parts)}" if parts else ""
    for found, words in ((level, "the two are level on"), (mixed, "the seeds disagree on")):
        if found:
            text += f"{', while' if text else f'between {baseline} and {variant}'} {words} "
            text += join([one.metric.name for one in found])
    return text


def _with_means(one: Comparison, baseline_first: bool) -> str:
    digits = decimals([*one.baseline, *one.values])
    baseline, value = (number(sum(values) / len(values), digits) for values in (one.baseline, one.values))
    first, second = (baseline, value) if baseline_first else (value, baseline)
    return f"{one.metric.name} ({first} against {second})"


def _in_seeds(paired: list[Comparison]) -> str:
    counts = {len(one.seeds) for one in paired}
    if len(counts) > 1:
        return "in every seed that has both,"
    (count,) = counts
    suffix = " that have both" if any(one.missing for one in paired) else ""
    return {1: "in the one seed that has both,", 2: f"in both seeds{suffix}"}.get(
        count, f"in all {count} seeds{suffix}"
    )
