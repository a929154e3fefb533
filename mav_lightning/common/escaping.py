"""Escaping of text from files and configs, one function per format: names are shown, never interpreted.

Names of studies, variants and metrics, questions, prompts and captions may hold anything. Every output passes them
through the function of its format.
"""

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "csv_cell",
    "file_name",
    "html",
    "latex",
    "markdown",
    "markdown_code",
    "markup",
    "one_line",
    "script_json",
    "shorten",
    "visible",
]

# C0 and C1 control characters but tab and line feed, marks that reorder the text shown, and halves of surrogate pairs,
# which undecodable file names hold and no encoding takes.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_MARKUP = re.compile(r"(?P<slashes>\\*)(?:(?P<bracket>\[)|$)|(?P<colon>:)(?=\S*:)")
_EMPTY_SPAN = "[none][/none]"  # what stands on its two sides is not read together

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
_SHOWN = 200  # characters of a name in a message


def visible(text: object) -> str:
    r"""Return text in which control characters are escaped, for example ``\x1b`` for ESC; the format of terminals.

    A terminal would otherwise execute what is hidden in file names and metadata, for example set the window's title.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """Return text like `visible`, with every run of tabs and line feeds as one space; the format of plot labels."""
    return re.sub(r"\s*[\n\t]\s*", " ", visible(text))


def shorten(name: object) -> str:
    """Return a name from a file as one line of at most 200 characters, tabs and line feeds escaped; for messages."""
    shown = visible(name).replace("\t", r"\t").replace("\n", r"\n")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def markup(text: object) -> str:
    """Return text that Rich prints as it is, wherever it stands: no style, escape or emoji code is read in it."""

    def escaped(found: re.Match[str]) -> str:
        if found["colon"]:
            return f":{_EMPTY_SPAN}"
        bracket = r"\[" if found["bracket"] else ""
        return f"{2 * found['slashes']}{_EMPTY_SPAN}{bracket}" if found["slashes"] else bracket

    return _MARKUP.sub(escaped, visible(text))


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
    escaped = _MARKDOWN.sub(r"\\\1", re.sub(r"^\s+", " ", one_line(text)))
    start = _LIST_ITEM.match(escaped)
    return f"{start[0]}\\{escaped[start.end() :]}" if start else escaped


def markdown_code(text: object) -> str:
    """Return text as a code span, which may also stand in a table cell."""
    line = one_line(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def latex(text: object) -> str:
    """Return text for the body of a LaTeX document, or for a comment in it."""
    return _LIGATURES.sub(r"\1{}", "".join(_LATEX.get(letter, letter) for letter in one_line(text)))


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
