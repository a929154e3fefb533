"""Prompts of published text-to-video protocols, read from their annotations."""

from pathlib import Path

from datamodules.msrvtt import draw_caption, read_described
from datamodules.ucf101 import read_class_frequencies, read_class_prompts
from mav_lightning.common.errors import UserError

__all__ = ["caption_prompts", "class_prompts", "frequency_prompts"]


def caption_prompts(annotation: Path, per_video: str, seed: int = 0) -> list[tuple[str, str]]:
    """Return the captions of MSR-VTT's test split as (id, prompt).

    Ids are ``video7010``, or ``video7010-03`` for a video's fourth caption.

    Args:
        annotation: MSR-VTT annotation; see `datamodules.msrvtt.read_described`.
        per_video: ``one`` samples the same caption per video as `datamodules.msrvtt.read_msrvtt`; ``all`` takes all.
        seed: Seed of the sampling.

    Raises:
        UserError: The annotation cannot be read or has no test captions, or `per_video` is another value.
    """
    if per_video not in ("one", "all"):
        raise UserError(f"must be one or all, got `{per_video}`.", argument="per_video")
    test = {video: found.captions for video, found in read_described(annotation).items() if found.split == "test"}
    if per_video == "one":
        prompts = [(video, draw_caption(video, captions, seed)) for video, captions in test.items() if captions]
    else:
        prompts = [(f"{v}-{number:02d}", text) for v, captions in test.items() for number, text in enumerate(captions)]
    if not prompts:
        raise UserError(
            f"{annotation}: has no captions of the test split; use the annotation file of all 10,000 videos."
        )
    return prompts


def class_prompts(prompts: Path, per_class: int) -> list[tuple[str, str]]:
    """Return each class's prompt several times as (id, prompt), for example ``Archery-0007`` for the eighth.

    The classes alternate, so that the beginning of the list is balanced, too.

    Args:
        prompts: Table of class prompts; see `datamodules.ucf101.read_class_prompts`.
        per_class: Repetitions of each prompt.

    Raises:
        UserError: The table cannot be read, or `per_class` is below 1.
    """
    if per_class < 1:
        raise UserError(f"must be at least 1, got {per_class}.", argument="per_class")
    texts = read_class_prompts(prompts)
    return [(f"{label}-{number:04d}", text) for number in range(per_class) for label, text in texts.items()]


def frequency_prompts(prompts: Path, train_list: Path, clips: int) -> list[tuple[str, str]]:
    """Return class prompts in the proportions of a training list as (id, prompt).

    Each class gets its exact proportion, rounded by largest remainders, and is spread evenly over the list.

    Args:
        prompts: Table of class prompts; see `datamodules.ucf101.read_class_prompts`.
        train_list: Official list of UCF-101 whose classes are counted, for example ``trainlist01.txt``.
        clips: Number of prompts in total.

    Raises:
        UserError: A file cannot be read, a class of the list has no prompt, or `clips` is below 1.
    """
    if clips < 1:
        raise UserError(f"must be at least 1, got {clips}.", argument="clips")
    texts, videos = read_class_prompts(prompts), read_class_frequencies(train_list)
    if missing := sorted(videos.keys() - texts.keys()):
        raise UserError(f"{prompts}: has no prompt for {len(missing)} classes, such as `{missing[0]}`; add them.")
    total = sum(videos.values())
    counts = {label: clips * own // total for label, own in videos.items()}
    by_remainder = sorted(videos, key=lambda label: (-(clips * videos[label] % total), label))
    for label in by_remainder[: clips - sum(counts.values())]:
        counts[label] += 1
    spread = [((number + 0.5) / own, label, number) for label, own in counts.items() for number in range(own)]
    return [(f"{label}-{number:04d}", texts[label]) for _, label, number in sorted(spread)]
