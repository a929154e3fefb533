"""What the documents tell people to type exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from mav_lightning.cli.app import app
from mav_lightning.config import load_config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The words of every ``mav`` command in a page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mav ")]


TOLD = [(page.name, words) for page in PAGES for words in commands(page)]


def test_the_documents_tell_of_commands() -> None:
    assert {"README.md", "cascade.md", "your-own-videos.md"} <= {name for name, _ in TOLD}


@pytest.mark.parametrize(("page", "words"), TOLD, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in TOLD])
def test_a_command_in_the_documents_has_these_options_and_configs(page: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):  # a group
        name = rest.pop(0)
        assert name in command.commands, f"{page}: no command `{name}`"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("--"):
            assert word in known, f"{page}: `{command.name}` has no option {word}"
    stages = [word for word in rest if re.fullmatch(r"stage/\w+\.yaml", word)]
    if stages and command.name in ("train", "certify", "config"):
        load_config(stages[0], [word for word in rest if re.match(r"\w[\w.]*=", word)])
