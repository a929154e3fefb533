"""Reading of the documents' examples: blocks of a page in their order, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "results").glob("*.md"),
        *(ROOT / "docs" / "reference").glob("*.md"),
    ]
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# First words of lines that set up a shell, install something, or need a cluster: never run by a test.
SHELL = ("cd", "export", "make", "mkdir", "pip", "printf", "python", "ray", "source", "tensorboard", "touch")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the content of a page's code blocks."""
    return BLOCK.findall(page.read_text())


def lines(block: str) -> Iterator[str]:
    """Yield the commands of a shell block; a line that ends with a backslash continues."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def commands(page: Path) -> list[list[str]]:
    """Return the words of every `mav` command of a page."""
    shell = [block for language, block in blocks(page) if language == "bash"]
    return [shlex.split(line, comments=True) for block in shell for line in lines(block) if line.startswith("mav ")]


def file_name(block: str) -> str | None:
    """Return the name under which the reader saves a block: its first line, ``# name.yaml``."""
    found = re.match(r"# ([\w./-]+\.\w+)$", block.partition("\n")[0])
    return found[1] if found else None
