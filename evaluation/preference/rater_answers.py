"""Answers of raters, as the page saves them, and the key that turns them into preferences for one of two systems."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, build, read_json

__all__ = ["GivenAnswer", "RaterAnswers", "RatingItem", "RatingKey", "read_answers", "read_key"]

Side = Literal["x", "y"]


@dataclass(frozen=True)
class RatingItem:
    """One question about one pair of clips.

    Attributes:
        question: Name of the question.
        prompt: Prompt of both clips.
        clips: Id of the first system's clip, and of the second's.
        x: Index of the system whose clip the page calls `x`.
    """

    question: str
    prompt: str
    clips: tuple[str, str]
    x: Literal[0, 1]


@dataclass(frozen=True)
class RatingKey:
    """The key of a page.

    Attributes:
        form: Id of the page, which its answers repeat.
        systems: Name of each system.
        questions: Names of the questions, in the order asked.
        items: Id of an item → what it is.
        seed: Seed of all random choices.
        version: Version of the file.
    """

    form: str
    systems: tuple[str, str]
    questions: tuple[str, ...]
    items: dict[str, RatingItem]
    seed: int
    version: Literal[1]


@dataclass(frozen=True)
class GivenAnswer:
    """One answer.

    Attributes:
        item: Id of the item.
        choice: The clip that was preferred.
        left: The clip that was on the left.
        seconds: Time from the first frame to the answer.
    """

    item: str
    choice: Literal["x", "y", "equal"]
    left: Side
    seconds: NonNegativeFloat


@dataclass(frozen=True)
class RaterAnswers:
    """All answers of one rater.

    Attributes:
        form: Id of the page.
        rater: Name or number of the rater.
        answers: The answers.
        saved: Time of saving, ISO 8601.
        version: Version of the file.
    """

    form: str
    rater: str
    answers: tuple[GivenAnswer, ...]
    saved: str
    version: Literal[1]


def read_key(path: Path) -> RatingKey:
    """Read the key that was written with a page.

    Raises:
        UserError: If the file is missing, is not such a key, or has items of questions that it does not list.
    """
    hint = "name the folder that `mav rate A B --out FOLDER` wrote"
    content: dict[str, Any] = read_json(path, dict[str, Any], hint)
    key: RatingKey = build(RatingKey, content, str(path))
    if unknown := {item.question for item in key.items.values()} - set(key.questions):
        raise UserError(f"{path}: has items of `{min(unknown)}`, which is none of its questions; the file is damaged.")
    return key


def read_answers(files: Sequence[Path], key: RatingKey) -> list[RaterAnswers]:
    """Read the answers of all raters.

    Args:
        files: One file of each rater, as the page saved it.
        key: Key of the page.

    Raises:
        UserError: If a file holds no answers or answers to another page, an answer is to no item of the page or given
            twice, or two files are of one rater.
    """
    found: dict[str, RaterAnswers] = {}
    for path in files:
        own: RaterAnswers = build(
            RaterAnswers, read_json(path, dict[str, Any], "name a file that the page saved"), str(path)
        )
        if own.form != key.form:
            raise UserError(f"{path}: has answers to page {own.form}, not to {key.form}; collect each page separately.")
        items = [answer.item for answer in own.answers]
        if unknown := set(items) - key.items.keys():
            raise UserError(f"{path}: answers `{min(unknown)}`, which the page does not ask; the file is damaged.")
        if len(set(items)) < len(items):
            raise UserError(f"{path}: answers a question twice; the file is damaged.")
        if found.setdefault(_identity(own.rater), own) != own:
            raise UserError(
                f"{path}: rater `{own.rater}` has a second file; pass only the later one, or, if these are two "
                "people, give them different names."
            )
    return list(found.values())


def _identity(rater: str) -> str:
    """Return what two spellings of one name share: case, spaces and composed letters differ by keyboard."""
    return " ".join(unicodedata.normalize("NFKC", rater).casefold().split())
