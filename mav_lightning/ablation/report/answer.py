"""The study's answer in a few sentences, limited to what the paired comparisons support."""

from collections.abc import Sequence

from mav_lightning.ablation.paired_statistics import LEAST, Comparison
from mav_lightning.ablation.report.text import decimals, join, number
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric

__all__ = ["BETTER", "answer"]

BETTER = {"lower": "lower is better", "higher": "higher is better", "one": "closer to 1 is better"}
_MOST_DIGITS = 9  # to tell two means apart
_FEW = 3  # variants that fit in one sentence


def answer(results: StudyResults) -> str:
    """Return which variants are better at every seed, or at most seeds, and where the seeds disagree.

    The first sentence is about the study's first metric, the others are about the remaining metrics, by variant. A
    variant *beats* another if the exact test or Student's test supports it after Holm's correction; otherwise it is
    *ahead*, since three seeds agree by chance in every fourth comparison of equal variants. With more than three
    variants next to the baseline, only supported differences are listed.

    Args:
        results: Results of the study.
    """
    study = results.plan.study
    first, *others = [(metric, results.compare(metric)) for metric in study.metrics]
    every = [one for _, found in (first, *others) for one in found]
    if not any(one.seeds for one in every):
        return "No pair of trials is complete yet."
    if len(study.order) - 1 > _FEW:
        return _supported(study.baseline, first, [one for _, found in others for one in found])
    by_variant = {
        name: [one for _, found in others for one in found if one.variant == name] for name in study.order[1:]
    }
    sentences = [_headline(study.baseline, *first), *(_sentence(study.baseline, *item) for item in by_variant.items())]
    return " ".join(filter(None, sentences))


def _supported(baseline: str, first: tuple[StudyMetric, list[Comparison]], others: Sequence[Comparison]) -> str:
    metric, found = first
    if max(len(one.seeds) for one in (*found, *others)) < LEAST:
        return (
            f"With fewer than {LEAST} seeds, {baseline} cannot be tested against the other variants; the table lists "
            "the pairs."
        )
    clauses, more = [_won(baseline, one) for one in found if one.shown], [one for one in others if one.shown]
    sentences = [
        f"{_on(metric)}, {join(clauses) or f'no test supports a difference between {baseline} and another variant'}."
    ]
    if more:
        sentences.append(
            f"On the other metrics, {join([f'{_won(baseline, one)} on {one.metric.name}' for one in more])}."
        )
    if clauses or more:
        sentences.append("No test supports any other difference.")
    elif others:
        sentences.append("The same holds for the other metrics.")
    return " ".join(sentences)


def _headline(baseline: str, metric: StudyMetric, comparisons: Sequence[Comparison]) -> str:
    paired = [one for one in comparisons if one.seeds]
    won = [_won(baseline, one) for one in paired if len(one.seeds) in (one.better, one.worse)]
    clauses = [f"{_in_seeds(paired)} {join(won)}"] if won else []
    for one in paired:
        if not one.better and not one.worse:
            clauses.append(f"{baseline} and {one.variant} are equal")
        elif one.better == one.worse:
            clauses.append(f"the seeds disagree between {baseline} and {one.variant}")
        elif len(one.seeds) not in (one.better, one.worse):
            clauses.append(f"at {max(one.better, one.worse)} of {len(one.seeds)} seeds {_won(baseline, one)}")
    return f"{_on(metric)}, {'; '.join(clauses) or 'no pair of trials has values'}."


def _sentence(baseline: str, variant: str, comparisons: Sequence[Comparison]) -> str:
    """Return what a variant's comparisons on several metrics show; empty without a pair."""
    paired = [one for one in comparisons if one.seeds]
    decided = [one for one in paired if len(one.seeds) in (one.better, one.worse)]
    level = [one for one in paired if not one.better and not one.worse]
    mixed = [one for one in paired if one not in decided + level]
    parts = []
    for winner, loser, better in ((baseline, variant, False), (variant, baseline, True)):
        for verb, shown in (("beats", True), ("is ahead of", False)):
            own = [one for one in decided if one.shown == shown and bool(one.better) == better]
            if own:
                parts.append(f"{winner} {verb} {loser} on {join([_with_means(one, not better) for one in own])}")
    text = f"{_in_seeds(paired)} {join(parts)}" if parts else ""
    for found, words in ((level, "the two are equal on"), (mixed, "the seeds disagree on")):
        if found:
            text += f"{', while' if text else f'between {baseline} and {variant}'} {words} "
            text += join([one.metric.name for one in found])
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _won(baseline: str, one: Comparison) -> str:
    better = one.better > one.worse
    winner, loser = (one.variant, baseline) if better else (baseline, one.variant)
    return f"{winner} {'beats' if one.shown else 'is ahead of'} {loser} {_means(one, not better)}"


def _with_means(one: Comparison, baseline_first: bool) -> str:
    return f"{one.metric.name} {_means(one, baseline_first)}"


def _means(one: Comparison, baseline_first: bool) -> str:
    means = [sum(values) / len(values) for values in (one.baseline, one.values)]
    digits = decimals([*one.baseline, *one.values])
    while number(means[0], digits) == number(means[1], digits) and digits < _MOST_DIGITS:
        digits += 1
    baseline, value = (number(mean, digits) for mean in means)
    first, second = (baseline, value) if baseline_first else (value, baseline)
    return f"({first} vs. {second})"


def _on(metric: StudyMetric) -> str:
    return f"On {metric.name} ({BETTER[metric.better]})"


def _in_seeds(paired: Sequence[Comparison]) -> str:
    counts = {len(one.seeds) for one in paired}
    if len(counts) > 1:
        return "at every seed that has both,"
    (count,) = counts
    suffix = " that have both" if any(one.missing for one in paired) else ""
    return {1: "at the one seed that has both,", 2: f"at both seeds{suffix},"}.get(
        count, f"at all {count} seeds{suffix},"
    )
