"""Check of prompts: words that the text encoder was not trained on, and words beyond its limit."""

from collections.abc import Collection

from mav_lightning.nn.base import TextImageEncoder

__all__ = ["describe_caption"]

_SHOWN = 60  # characters of a caption in a message


def describe_caption(caption: str, encoder: TextImageEncoder, words: Collection[str] | None) -> list[str]:
    """Describe words of a caption that the text encoder does not know or cuts off; empty if there are none.

    Args:
        caption: A caption or prompt.
        encoder: The text encoder.
        words: Words of the captions that it was trained on. None if unknown.
    """
    shown = caption if len(caption) <= _SHOWN else f"{caption[:_SHOWN]}…"
    found = []
    if unknown := [] if words is None else encoder.unknown_words(caption, words):
        verb, noun = ("is", "word") if len(unknown) == 1 else ("are", "words")
        names = ", ".join(unknown)
        found.append(f"`{shown}`: {names} {verb} unknown to the text encoder: no such {noun} in its training captions")
    if rest := encoder.unread(caption):
        found.append(f"`{shown}`: `{rest}` is not read, since the text encoder reads {encoder.length} tokens at most")
    return found
