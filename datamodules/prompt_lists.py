"""The prompts that published protocols of text-to-video ask for, from the annotations that name them."""

from pathlib import Path

from datamodules.msrvtt import draw_caption, read_described
from datamodules.ucf101 import read_class_prompts
from mav_lightning.common.errors import UserError

__all__ = ["caption_prompts", "class_prompts"]


def caption_prompts(annotation: Path, per_video: str, seed: int = 0) -> list[tuple[str, str]]:
    """The captions of MSR-VTT's test split, as (id, prompt): ids are ``video7010``, or ``video7010-03`` for the fourth.

    Args:
        annotation: See `datamodules.msrvtt.read_described`.
        per_video: ``one``, drawn as `datamodules.msrvtt.read_msrvtt` draws it, or ``all``.
        seed: Of the draw.

    Raises:
        UserError: An annotation that cannot be read or has no test captions, or another `per_video`.
    """
    if per_video not in ("one", "all"):
        raise UserError(f"--per-video: must be one or all, got `{per_video}`.")
    test = {video: found.captions for video, found in read_described(annotation).items() if found.split == "test"}
    if per_video == "one":
        prompts = [(video, draw_caption(video, captions, seed)) for video, captions in test.items() if captions]
    else:
        prompts = [(f"{v}-{number:02d}", text) for v, captions in test.items() for number, text in enumerate(captions)]
    if not prompts:
        raise UserError(f"{annotation}: has no captions of the split test; give the annotation of all 10,000 videos.")
    return prompts


def class_prompts(prompts: Path, per_class: int) -> list[tuple[str, str]]:
    """Each class's prompt `per_class` times, as (id, prompt): ids are ``Archery-0007`` for the eighth.

    The classes take turns, so that the beginning of the list is balanced too.

    Raises:
        UserError: A list that cannot be read, or `per_class` below 1.
    """
    if per_class < 1:
        raise UserError(f"--per-class: must be at least 1, got {per_class}.")
    texts = read_class_prompts(prompts)
    return [(f"{label}-{number:04d}", text) for number in range(per_class) for label, text in texts.items()]
