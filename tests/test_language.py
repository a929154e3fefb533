"""Docstrings, comments, messages and help: plain American English, without the constructions that were cleaned up."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mav_lightning", "datamodules", "evaluation")
FORBIDDEN = {
    "fragment": r": Of (the )?|\bAs there\b|(^|[.:] )As `|\blikewise\b|\bthe same of\b",
    "personification": r"\btold\b|\bnobody\b|\bsays\b",
    "archaism": r"\blest\b|\bwhom\b|\bsave that\b|\bto be had\b|\bput down to\b",
    "dialect": r"\benlarg\w*|\broughen\w*|\bsharpen(ed|s|ing)\b|\bsh(ri|ra|ru)nk\w*",
    "dataset": r"\bdata sets?\b",
    "British": (
        r"\b\w*(normal|initial|optim|general|quant|regular|visual|summar|token|local|organ|recogn|special|util|minim"
        r"|maxim|synchron|serial|vector|random|standard)is(e|es|ed|ing|ation|ations)\b"
        r"|\b\w*colour\w*|\bgrey\w*|\bcentre[ds]?\b|\bneighbour\w*|\bbehaviour\w*|\bfavour\w*|\blearnt\b|\bspoilt\b"
        r"|\b(un)?(label|model|cancel|travel)l(ed|ing)\b|\blicence\b"
    ),
}  # fmt: skip
PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in FORBIDDEN.values()))
CODE = re.compile(r"``[^`]+``|`[^`]+`|\{[^{}]*\}|https?://\S+|^\s*\w+: (?=[A-Z])|short-side-centre-crop")
KEYS = {"colour", "colours", "licence"}  # keys of files on disk


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Lines of docstrings, messages and help (all strings of several words), and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from enumerate(node.value.split("\n"), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def findings(source: str, where: str) -> list[str]:
    """Forbidden constructions, except in code spans and names of arguments."""
    found = []
    for line, text in texts(source):
        # An argument's name and colon are code; its description must still not begin with a fragment.
        prose = text if re.match(r"^\s*\w+: (Of|As)\b", text) else CODE.sub("", text)
        found += [f"{where}:{line}: `{match.group().strip()}` in: {text.strip()}" for match in PATTERN.finditer(prose)]
    return [one for one in found if re.search("`(.*?)`", one).group(1) not in KEYS]  # type: ignore[union-attr]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_language_is_plain_american_english(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = [line for file in files for line in findings(file.read_text(), str(file.relative_to(ROOT)))]
    assert not found, "\n".join(found)


def test_comments_of_configs_are_plain_american_english() -> None:
    found = []
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            prose = CODE.sub("", line.partition("#")[2])
            found += [f"{file.name}:{number}: `{one.group()}`: {line}" for one in PATTERN.finditer(prose)]
    assert not [one for one in found if not any(f"`{key}`" in one for key in KEYS)], "\n".join(found)


PAGES = [page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if page.name != "report.md"]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_pages_are_in_plain_american_english(page: Path) -> None:
    """Code blocks and reports that a study generated are left out."""
    text = re.sub(r"```.*?```", lambda block: "\n" * block.group().count("\n"), page.read_text(), flags=re.DOTALL)
    found = [
        f"{page.name}:{number}: `{one.group()}`: {line}"
        for number, line in enumerate(text.splitlines(), 1)
        for one in PATTERN.finditer(CODE.sub("", line))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "cond: Of the clips.",
        "fps: As there.",
        "Is told what happens.",
        "a data set",
        "Whether to normalise",
        "enlarge it",
    ],
)
def test_planted_dialect_is_found(text: str) -> None:
    assert findings(f'"""{text}"""\n', "x.py")


@pytest.mark.parametrize("text", ["raises an error, otherwise denoises noise", "`normalise`: scale", "a dataset"])
def test_plain_words_are_accepted(text: str) -> None:
    assert not findings(f'"""{text}"""\n', "x.py")
