"""Escaping of text for documents, one function per format: names are shown, never interpreted.

Names of studies, variants and metrics, questions, prompts and captions may hold anything. Every output passes them
through the function of its format; the format of terminals is in `mav_lightning.common.terminal`.
"""

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mav_lightning.common.terminal import visible

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "csv_cell",
    "file_name",
    "html",
    "latex",
    "markdown",
    "markdown_code",
    "plot_text",
    "script_json",
]

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\symbol{34}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # else they are arguments of the command before
}  # fmt: skip
_LIGATURES = re.compile(r"([-,'])(?=\1)")

_MARKDOWN = re.compile(r"([\\`*{}\[\]<>|#~&$!]|(?<![^\W_])_|_(?![^\W_]))")  # `_` between letters means nothing
_LIST_ITEM = re.compile(r"\s*(?:\d+(?=[.)](?:\s|$))|(?=[-+=](?:\s|$|[-+=])))")  # also a rule or an underline

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONGEST_NAME = 100  # characters; file systems allow 255 bytes


def plot_text(text: object) -> str:
    """Return text for a figure, on one line. The caller must turn off formulas: ``text.parse_math: false``."""
    return re.sub(r"\s*[\n\t]\s*", " ", visible(text))


def html(text: object) -> "Markup":
    """Return text for HTML elements and quoted attributes."""
    from markupsafe import escape

    return escape(visible(text))


def script_json(value: Any) -> "Markup":
    """Return plain data as JSON for a ``script`` element: it holds no character that could end the element."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value)


def markdown(text: object) -> str:
    """Return text for a paragraph, a heading or a table cell of GitHub-flavored Markdown."""
    escaped = _MARKDOWN.sub(r"\\\1", re.sub(r"^\s+", " ", plot_text(text)))
    start = _LIST_ITEM.match(escaped)
    return f"{start[0]}\\{escaped[start.end() :]}" if start else escaped


def markdown_code(text: object) -> str:
    """Return text as a code span, which may also stand in a table cell."""
    line = plot_text(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def latex(text: object) -> str:
    """Return text for the body of a LaTeX document, or for a comment in it."""
    return _LIGATURES.sub(r"\1{}", "".join(_LATEX.get(letter, letter) for letter in plot_text(text)))


def csv_cell(text: object) -> str:
    """Return text for a CSV cell: an apostrophe precedes what a spreadsheet would run as a formula.

    Quotes and separators are left to `csv.writer`. Numbers are not text and need no escaping.
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def file_name(text: object) -> str:
    """Return a name for a file or folder that differs for different texts and never leaves its folder.

    Everything but letters, digits and a few harmless signs is percent-encoded; long names are cut and end in a hash.
    """
    name = quote(str(text), safe="@+=,() ", errors="surrogatepass") or "%"
    name = re.sub(r"^\.|^ | $", lambda found: f"%{ord(found[0]):02X}", name)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{sha256(name.encode()).hexdigest()[:8]}"
