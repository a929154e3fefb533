"""Docstrings and types as a reader needs them: dataclass fields as arguments, ranges as inequalities."""

import re
from dataclasses import is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx_autodoc_typehints import format_annotation

REFERENCE = re.compile(r"\s\S.* https?://\S+$")
ANYTHING = re.compile(r"\(\*args.*, \*\*kwargs.*\)")
SIGNS = {Gt: (">", "gt"), Ge: ("≥", "ge"), Lt: ("<", "lt"), Le: ("≤", "le")}


def show_type(annotation: Any, config: Config) -> str | None:
    """Return ``int > 0`` for an annotated integer above 0; None leaves other types to Sphinx."""
    if isinstance(annotation, TypeVar):
        return f"``{annotation.__name__}``"
    if get_origin(annotation) is not Annotated:
        return None
    bare, *bounds = get_args(annotation)
    shown = [f"{SIGNS[type(one)][0]} {getattr(one, SIGNS[type(one)][1])}" for one in bounds if type(one) in SIGNS]
    return f"{format_annotation(bare, config)} {' and '.join(shown)}".strip()


def _rewrite(app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Change a docstring so that Napoleon takes no prose before a colon for a type."""
    if what == "class" and is_dataclass(described):
        lines[:] = ["Args:" if line == "Attributes:" else line for line in lines]
    if what == "property":
        lines.insert(0, "")
    for title in ("Returns:", "Yields:"):
        if title in lines:
            first = lines.index(title) + 1
            lines[first - 1 : first + 1] = [f":returns: {lines[first].strip()}"]
    if "References:" in lines:  # one paragraph each
        lines[:] = [part for line in lines for part in ([line, ""] if REFERENCE.search(line) else [line])]


def _is_bare_field(app: Sphinx, what: str, name: str, described: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which their class documents."""
    return True if str(getattr(described, "__doc__", "")).startswith("Alias for field number") else None


def _hide_any(app: Sphinx, what: str, name: str, described: Any, options: Any, arguments: str, returned: str) -> Any:
    """Show no signature for a class that leaves its arguments to its subclasses."""
    return ("", returned) if ANYTHING.fullmatch(arguments or "") else None


def setup(app: Sphinx) -> None:
    """Connect the changes; docstrings are changed before Napoleon reads them."""
    app.connect("autodoc-process-docstring", _rewrite, priority=100)
    app.connect("autodoc-process-signature", _hide_any)
    app.connect("autodoc-skip-member", _is_bare_field)
