"""What raters are asked: pairs of clips of two systems for the same prompt, and the questions about each pair."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.clip_sources import VideoSource
from evaluation.folders import open_clips, with_prompts
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import display_only
from mav_lightning.common.terminal import SafeLog

__all__ = ["QUESTIONS", "Question", "RatedPair", "pair_clips", "questions"]

log = SafeLog(__name__)


@dataclass(frozen=True)
class Question:
    """A question about two clips.

    Attributes:
        name: Short name, under which its results are reported.
        text: The question as raters read it.
        prompt: Whether raters see the prompt with it.
    """

    name: str
    text: str
    prompt: bool


QUESTIONS = {
    one.name: one
    for one in (
        Question("quality", "Which video is of higher quality?", prompt=False),
        Question("faithfulness", "Which video corresponds better with the text?", prompt=True),
        Question("motion", "Which video has more realistic motion?", prompt=False),
    )
}


@dataclass(frozen=True)
class RatedPair:
    """Two clips for the same prompt.

    Attributes:
        prompt: The prompt.
        clips: The clip of the first system, and that of the second.
    """

    prompt: str
    clips: tuple[VideoSource, VideoSource]


def questions(asked: Sequence[str]) -> list[Question]:
    """Return the questions to ask, in order.

    Args:
        asked: Names of `QUESTIONS`, or questions of your own, which end in a question mark and are asked next to the
            prompt.

    Raises:
        UserError: If there is none, one is asked twice, or one is neither a known name nor a question.
    """
    found = []
    for text in asked:
        if text not in QUESTIONS and not text.strip().endswith("?"):
            raise UserError(
                f"unknown question {text!r}; choose from {', '.join(QUESTIONS)}, or write one that ends in `?`.",
                argument="ask",
            )
        found.append(QUESTIONS.get(text) or Question(text.strip(), text.strip(), prompt=True))
    if not found or len(set(found)) < len(found):
        raise UserError(f"each question must be asked once, got {', '.join(asked) or 'none'}.", argument="ask")
    return found


def pair_clips(
    folders: tuple[Path, Path], prompts: Mapping[str, str] | Collection[str] | None, fps: float | None = None
) -> list[RatedPair]:
    """Pair the clips of two systems by their prompts; several clips of one prompt are paired in the order of their ids.

    Args:
        folders: Folder of clips of each system; see `evaluation.folders.open_clips`.
        prompts: Id of a clip → its prompt, with the same ids in both folders; or the prompts to rate, of clips whose
            folder records prompts; or None for all prompts of such folders.
        fps: Frames per second of clips that are stored as images or arrays. None if there are none.

    Raises:
        UserError: If clips have no prompt, the two systems have other prompts or other numbers of clips of one, only
            one of them has marked or upsampled clips, all pairs are byte-identical, or there are none.
    """
    _require_alike(folders)
    systems = [_by_prompt(folder, prompts, fps) for folder in folders]
    chosen = list(systems[0] if prompts is None or isinstance(prompts, Mapping) else dict.fromkeys(prompts))
    for folder, own in zip(folders, systems, strict=True):
        if lost := [prompt for prompt in chosen if prompt not in own]:
            raise UserError(f"{folder}: has no clip of {len(lost)} prompts, first `{lost[0]}`; generate them.")
    if prompts is None and (more := [prompt for prompt in systems[1] if prompt not in systems[0]]):
        raise UserError(f"{folders[0]}: has no clip of {len(more)} prompts, first `{more[0]}`; generate them.")
    for prompt in chosen:
        counts = [len(own[prompt]) for own in systems]
        if counts[0] != counts[1]:
            raise UserError(
                f"`{prompt}`: {folders[0]} has {counts[0]} clips, {folders[1]} has {counts[1]}; provide equally many."
            )
    pairs = [
        RatedPair(prompt, pair)
        for prompt in chosen
        for pair in zip(systems[0][prompt], systems[1][prompt], strict=True)
    ]
    _require_unlike(folders, pairs)
    return pairs


def _require_unlike(folders: tuple[Path, Path], pairs: Sequence[RatedPair]) -> None:
    """Warn of pairs of byte-identical clips, which raters cannot tell apart.

    Raises:
        UserError: If all pairs are, or there are none.
    """
    if not pairs:
        raise UserError("there are no prompts to rate; give at least one.", argument="prompts")
    same = [pair for pair in pairs if pair.clips[0].sha256() == pair.clips[1].sha256()]
    if len(same) == len(pairs):
        raise UserError(f"{folders[0]} and {folders[1]} hold the same clips; name the folders of two systems.")
    if same:
        log.warning(
            "%s of %s with the same bytes on both sides, first `%s`; raters cannot distinguish them.",
            len(same), counted(len(pairs), "pair"), same[0].prompt,
        )  # fmt: skip


def _by_prompt(
    folder: Path, prompts: Mapping[str, str] | Collection[str] | None, fps: float | None
) -> dict[str, list[VideoSource]]:
    sources = open_clips(folder, fps=fps)
    if isinstance(prompts, Mapping):
        sources = with_prompts(sources, prompts)
    found = defaultdict[str, list[VideoSource]](list)
    for source in sources:
        if not source.prompt:
            raise UserError(
                f"{folder}: clip `{source.id}` has no prompt; give a table id<TAB>prompt.", argument="prompts"
            )
        found[source.prompt].append(source)
    return found


def _require_alike(folders: tuple[Path, Path]) -> None:
    first, second = (display_only(folder) for folder in folders)
    if first != second:
        raise UserError(
            f"raters could tell the systems apart: {folders[0]}: {first or 'clips as generated'}; {folders[1]}: "
            f"{second or 'clips as generated'}. Generate both with the same options, such as `--no-mark`."
        )
