"""What the text members of a sample state about it: caption, attributes, group.

The caption is the ``.txt``; without one, ``caption`` of the ``.json``, or else ``captions``, of which the first counts;
see `mav_lightning.common.several_texts`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mav_lightning.common.errors import UserError
from mav_lightning.common.several_texts import first_text, several_texts
from mav_lightning.common.terminal import shorten
from mav_lightning.common.text_files import beginning, decode_text, plain_text
from mav_lightning.shards.samples import SampleError

__all__ = ["SampleFacts", "read_caption", "read_captions_of", "read_facts", "read_metadata"]

T = TypeVar("T")


@dataclass(frozen=True)
class SampleFacts:
    """Facts of a sample.

    Attributes:
        caption: Caption of the sample. None if there is none; empty if the caption is empty.
        attributes: Known content, such as color and shape.
        group: Source that it was cut from; samples of one group are not independent. Empty if it is not known.
    """

    caption: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


def read_caption(members: Mapping[str, bytes]) -> str | None:
    """Return the caption of a sample, stripped of white space at both ends. None if it has none.

    Args:
        members: Suffix → bytes; ``txt`` and ``json`` are used.

    Raises:
        SampleError: It is not UTF-8, or neither text nor a list of texts.
    """
    if "txt" in members:
        try:
            return decode_text(members["txt"]).strip()
        except UserError as error:
            raise SampleError(f"its caption is {error}") from error
    return _captions(first_text, members)


def read_captions_of(members: Mapping[str, bytes]) -> list[str]:
    """Return all captions of a sample, in order: the list in its ``.json`` if there is one, else the one caption.

    Args:
        members: Suffix → bytes; ``txt`` and ``json`` are used. Lists are ``captions``, or else ``caption``.

    Raises:
        SampleError: A caption cannot be read.
    """
    if several := _captions(several_texts, members):
        return several
    caption = read_caption(members)
    return [] if caption is None else [caption]


def _captions(read: Callable[[Mapping[str, Any], str], T], members: Mapping[str, bytes]) -> T:
    """Read captions from a sample's ``.json``."""
    try:
        return read(read_metadata(members), "caption")
    except SampleError:
        raise
    except UserError as error:
        raise SampleError(f"`{error.argument}` in its `.json` {error.message}") from error


def read_facts(members: Mapping[str, bytes]) -> SampleFacts:
    """Return all facts of a sample.

    Args:
        members: Suffix → bytes; ``txt`` and ``json`` are used. A ``.json`` that holds no object, such as a list of
            boxes, states none.

    Raises:
        SampleError: The caption, the ``.json`` or its attributes cannot be read.
    """
    caption, content = read_caption(members), read_metadata(members)
    attributes = content.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise SampleError(f"`attributes` in its `.json` must be an object, got {beginning(attributes)}.")
    known = {_fact(name, name): _fact(name, value) for name, value in attributes.items()}
    return SampleFacts(
        caption, {name: value for name, value in known.items() if value}, _fact("group", content.get("group"))
    )


def _fact(name: str, value: Any) -> str:
    """Return a value as text: an empty one of null and NaN, JSON of lists and objects."""
    try:
        if isinstance(value, list | dict):
            return json.dumps(value, sort_keys=True)
        return str(value) if isinstance(value, bool) else plain_text(value) or ""
    except UserError as error:
        raise SampleError(f"`{shorten(name)}` in its `.json` {error}") from error
    except RecursionError as error:
        raise SampleError("its `.json` is nested too deeply; write the shard again.") from error


def read_metadata(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the content of a sample's ``.json``; empty without one, or where it holds no object.

    Args:
        members: Suffix → bytes; ``json`` is used.

    Raises:
        SampleError: It is not JSON.
    """
    if "json" not in members:
        return {}
    try:
        content = json.loads(decode_text(members["json"]))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SampleError(f"its `.json` cannot be read ({reason}); write the shard again.") from error
    except UserError as error:
        raise SampleError(f"its `.json` is {error}") from error
    return content if isinstance(content, dict) else {}
