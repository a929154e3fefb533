"""The one rule for a name that may hold several texts, such as the captions of a video, in JSON, tables and shards.

A text is stored under its name or the plural of it (``caption``, ``captions``), alone or in a list. Where one text is
needed, the first that is not blank counts, the name before its plural. Where all are needed, those of a list count,
the plural before the name.
"""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.text_files import plain_texts

__all__ = ["first_text", "listed_texts", "plural", "several_texts"]

_LIST = re.compile(r"\[\s*[\"'].*\]", re.DOTALL)
_LITERAL = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_NUMPY = re.compile(rf"\[\s*{_LITERAL}(?:\s+{_LITERAL})+\s*\]")  # lists without commas


def plural(name: str) -> str:
    """Return the name under which a list of texts may be stored."""
    return f"{name}s"


def first_text(content: Mapping[str, Any], name: str) -> str | None:
    """Return the text to use where only one is needed, without white space at both ends; None if there is none.

    Args:
        content: Plain data by name.
        name: Name in the singular.

    Raises:
        UserError: A value is neither text nor a list of texts; `argument` names it.
    """
    texts = [text for field in (name, plural(name)) for text in _texts(content, field)]
    return next((text for text in texts if text), texts[0] if texts else None)


def several_texts(content: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of the list that is stored under a name, in order, without blank ones; empty if there is none.

    Args:
        content: Plain data by name.
        name: Name in the singular.

    Raises:
        UserError: A value is neither text nor a list of texts; `argument` names it.
    """
    lists = (_texts(content, field) for field in (plural(name), name) if isinstance(content.get(field), list))
    return next((kept for texts in lists if (kept := [text for text in texts if text])), [])


def listed_texts(cell: str) -> str | list[str | None]:
    """Return the texts of a cell that holds a list as JSON, Python or NumPy writes it; any other cell as it is.

    Example:
        >>> listed_texts('["a cat", "a dog"]'), listed_texts("['a cat', 'a dog']"), listed_texts("[music]")
        (['a cat', 'a dog'], ['a cat', 'a dog'], '[music]')
    """
    if not _LIST.fullmatch(cell):
        return cell
    if _NUMPY.fullmatch(cell):
        return [ast.literal_eval(text) for text in re.findall(_LITERAL, cell)]
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        # Python joins strings without a comma between them
        is_list = parse is json.loads or repr(found) == cell
        if is_list and all(text is None or isinstance(text, str) for text in found):
            return list(found)
    return cell


def _texts(content: Mapping[str, Any], field: str) -> list[str]:
    try:
        return [text.strip() for text in plain_texts(content.get(field))]
    except UserError as error:
        raise UserError(error.message, argument=field) from error
