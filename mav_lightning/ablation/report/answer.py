"""The study's answer in one sentence, limited to what the paired comparisons support."""

from mav_lightning.ablation.paired_statistics import LEAST, Comparison
from mav_lightning.ablation.report.text import decimals, join, number
from mav_lightning.ablation.results import StudyResults

__all__ = ["answer"]

_FEW = 3  # variants that fit in one sentence


def answer(results: StudyResults) -> str:
    """Return which variants are better on which metrics at every seed, and where the seeds disagree.

    A variant *beats* another if the exact test or Student's test supports it after Holm's correction; otherwise it is
    *ahead*, since three seeds agree by chance in every fourth comparison of equal variants. With more than three
    variants next to the baseline, only supported differences are listed.

    Args:
        results: Results of the study.
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
            f"With fewer than {LEAST} seeds, {baseline} cannot be tested against the other variants; the table lists "
            "the pairs."
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
    for found, words in ((level, "the two are equal on"), (mixed, "the seeds disagree on")):
        if found:
            text += f"{', while' if text else f'between {baseline} and {variant}'} {words} "
            text += join([one.metric.name for one in found])
    return text


def _with_means(one: Comparison, baseline_first: bool) -> str:
    digits = decimals([*one.baseline, *one.values])
    baseline, value = (number(sum(values) / len(values), digits) for values in (one.baseline, one.values))
    first, second = (baseline, value) if baseline_first else (value, baseline)
    return f"{one.metric.name} ({first} vs. {second})"


def _in_seeds(paired: list[Comparison]) -> str:
    counts = {len(one.seeds) for one in paired}
    if len(counts) > 1:
        return "at every seed that has both,"
    (count,) = counts
    suffix = " that have both" if any(one.missing for one in paired) else ""
    return {1: "at the one seed that has both,", 2: f"at both seeds{suffix},"}.get(
        count, f"at all {count} seeds{suffix},"
    )
