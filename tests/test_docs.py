"""The commands, configs and links in the documents exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mav_lightning.cli.app import app
from mav_lightning.common import allowed
from mav_lightning.config import find_config, load_config

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "results").glob("*.md")])


def commands(page: Path) -> list[list[str]]:
    """Return the words of every ``mav`` command in a page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mav ")]


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_the_documents_contain_commands() -> None:
    assert {"README.md", "cascade.md", "your-own-videos.md", "bring-your-own.md"} <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in COMMANDS]
)
def test_a_command_has_the_options_and_configs_it_is_given(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed, "_allowed", {})
    monkeypatch.syspath_prepend(str(ROOT / "tests"))  # for mylab
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):  # a group
        name = rest.pop(0)
        assert name in command.commands, f"{page}: no command `{name}`"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word, following in zip(rest, [*rest[1:], ""], strict=True):
        if word.startswith("--"):
            assert word in known, f"{page}: `{command.name}` has no option {word}"
        if word == "--allow":
            allowed.allow([following])
    configs = [word for word in rest if re.fullmatch(r"(stage|recipe|ablation)/\w+\.yaml", word)]
    for config in configs:
        find_config(config)
    if configs and configs[0].startswith("stage/") and command.name in ("train", "certify", "config"):
        load_config(configs[0], [word for word in rest if re.match(r"\w[\w.]*=", word)])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_relative_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


def test_the_citation_is_valid() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= content.keys()
    from mav_lightning import __version__

    assert content["version"] == __version__


def test_every_row_of_what_people_meet_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "reading.md").read_text()
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)` \|$", page, re.MULTILINE)
    rows = page.partition("## What people meet")[2].partition("## Damage")[0].count("\n| ") - 1
    assert len(named) == rows > 20
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}: {test}"
