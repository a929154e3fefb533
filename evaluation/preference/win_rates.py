"""Raters' answers → win rates: majority of each pair, agreement, and intervals over prompts."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from evaluation.intervals import Interval, wilson_of_mean
from evaluation.metrics.base import Score, to_plain
from evaluation.preference.rater_answers import RaterAnswers, RatingKey

__all__ = ["FEWEST_RATERS", "fleiss_kappa", "majority", "preference_results", "win_rate"]

FEWEST_RATERS = 5  # of a pair, in Make-A-Video
_VOTES = ("first", "second", "equal")
_KIND = "Wilson score interval over prompts, 95 %"


def majority(votes: Sequence[str]) -> float:
    """Return 1 if more raters prefer the first clip, 0 if more prefer the second, and 0.5 for a tie.

    Args:
        votes: ``first``, ``second`` or ``equal`` of each rater; ``equal`` is a vote for neither.
    """
    count = Counter(votes)
    return 0.5 + 0.5 * float(np.sign(count["first"] - count["second"]))


def win_rate(wins: Sequence[float], prompts: Sequence[str]) -> tuple[float, Interval]:
    """Return the mean over prompts of the mean win of their pairs, and its interval.

    Args:
        wins: 1, 0.5 or 0 of each pair; see `majority`.
        prompts: Prompt of each pair. Pairs of one prompt are not independent and count as one value.
    """
    of_prompt = defaultdict[str, list[float]](list)
    for win, prompt in zip(wins, prompts, strict=True):
        of_prompt[prompt].append(win)
    value = float(np.mean([np.mean(own) for own in of_prompt.values()])) if of_prompt else float("nan")
    return value, wilson_of_mean(value, len(of_prompt))


def fleiss_kappa(votes: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Compute the agreement among raters beyond chance, Fleiss' kappa: 1 is full agreement, 0 is chance.

    Kappa needs equally many answers to each pair, so pairs with another number than most are left out.

    Args:
        votes: Votes on each pair.

    Returns:
        The kappa and the number of pairs counted. NaN if no pair has two votes, or all votes are the same.
    """
    from torchmetrics.functional.nominal import fleiss_kappa as of_counts

    sizes = Counter(len(own) for own in votes if len(own) > 1)
    if not sizes:
        return float("nan"), 0
    usual = max(sizes, key=lambda size: (sizes[size], size))
    kept = [Counter(own) for own in votes if len(own) == usual]
    counts = torch.tensor([[own[vote] for vote in _VOTES] for own in kept])
    if (counts.sum(dim=0) > 0).sum() < 2:
        return float("nan"), len(kept)  # without any variation chance agreement is full as well
    return float(of_counts(counts, mode="counts")), len(kept)


def preference_results(key: RatingKey, raters: Sequence[RaterAnswers]) -> dict[str, Any]:
    """Evaluate all answers.

    Args:
        key: Key of the page.
        raters: Answers of each rater.

    Returns:
        Plain data: ``title``, ``origin``, ``metrics`` (question → win rate of the first system, ties as half, with its
        interval), ``questions`` (question → ``votes``, ``pairs`` won, tied and lost, ``raters_per_pair``, ``kappa``,
        ``kappa_pairs``, ``left``, the share of decided answers for the left side, and the number of ``unanswered``
        pairs), and ``pairs`` (votes and majority of each pair).
    """
    votes: dict[str, list[str]] = {item: [] for item in key.items}
    left: dict[str, list[bool]] = {name: [] for name in key.questions}
    for rater in raters:
        for answer in rater.answers:
            votes[answer.item].append(_vote(answer.choice, key.items[answer.item].x))
            if answer.choice != "equal":
                left[key.items[answer.item].question].append(answer.choice == answer.left)
    first, second = key.systems
    metrics, about = {}, {}
    for question in key.questions:
        own = {item: given for item, given in votes.items() if key.items[item].question == question and given}
        wins = [majority(given) for given in own.values()]
        value, interval = win_rate(wins, [key.items[item].prompt for item in own])
        metrics[question] = Score(value, interval, _KIND, len(own), "higher", f"win rate of {first}").to_dict()
        unanswered = sum(item.question == question for item in key.items.values()) - len(own)
        about[question] = _about(list(own.values()), wins, left[question]) | {"unanswered": unanswered}
    results: dict[str, Any] = to_plain({
        "title": f"What people prefer: {first} over {second}",
        "origin": {
            "page": key.form, "systems": f"{first} and {second}", "raters": str(len(raters)), "seed": str(key.seed),
        },
        "metrics": metrics,
        "questions": about,
        "pairs": [_pair(key, item, given) for item, given in votes.items()],
    })  # fmt: skip
    return results


def _vote(choice: str, x: int) -> str:
    if choice == "equal":
        return choice
    return _VOTES[x if choice == "x" else 1 - x]


def _about(votes: Sequence[Sequence[str]], wins: Sequence[float], left: Sequence[bool]) -> dict[str, Any]:
    kappa, pairs = fleiss_kappa(votes)
    count, sizes = Counter(vote for own in votes for vote in own), [len(own) for own in votes]
    return {
        "votes": {vote: count[vote] for vote in _VOTES},
        "pairs": {"won": wins.count(1.0), "tied": wins.count(0.5), "lost": wins.count(0.0)},
        "raters_per_pair": [min(sizes, default=0), max(sizes, default=0)],
        "kappa": kappa,
        "kappa_pairs": pairs,
        "left": float(np.mean(left)) if left else None,
    }


def _pair(key: RatingKey, item: str, votes: Sequence[str]) -> Mapping[str, Any]:
    known, count = key.items[item], Counter(votes)
    winner = {1.0: "first", 0.5: "equal", 0.0: "second"}[majority(votes)] if votes else None
    return {
        "question": known.question, "prompt": known.prompt, "clips": list(known.clips),
        "votes": {vote: count[vote] for vote in _VOTES}, "majority": winner,
    }  # fmt: skip
