"""The commands, configs and links in the documents exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pages import PAGES, ROOT, blocks, commands, file_name

from mav_lightning.cli.app import app
from mav_lightning.common import allowed
from mav_lightning.config import find_config, load_config

COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_the_documents_contain_commands() -> None:
    assert {"README.md", "cascade.md", "tutorial.md", "bring-your-own.md"} <= {name for name, _ in COMMANDS}


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
def test_commands_that_are_followed_in_order_do_not_write_over_each_other(page: Path) -> None:
    outs = []
    for words in commands(page):
        if words[1] in ("generate", "evaluate", "motion", "export", "pipeline") or words[1:3] == ["data", "prompts"]:
            outs += [Path(following) for word, following in zip(words, words[1:], strict=False) if word == "--out"]
    clashes = [(str(one), str(other)) for i, one in enumerate(outs) for other in outs[:i] if one == other]
    clashes += [(str(one), str(other)) for one in outs for other in outs if one in other.parents]
    assert not clashes


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


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_yaml_examples_are_yaml(page: Path) -> None:
    for language, block in blocks(page):
        assert language != "yaml" or isinstance(yaml.safe_load(block), dict)
        assert not (language == "yaml" and page.name == "tutorial.md") or file_name(block)


def test_lines_fit_into_120_columns_but_for_tables_and_links() -> None:
    too_long = [
        f"{page.name}:{number}"
        for page in PAGES
        if page.parent != ROOT
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|") and "](" not in line
    ]
    assert not too_long


def test_the_table_of_costs_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line for line in (ROOT / "docs" / "cascade.md").read_text().splitlines() if line.startswith("| stage/")]
    assert len(rows) == 21
    shown = [row for row in rows if "_paper" not in row]  # tests/test_flops.py costs those of `paper`, which take long
    app([*["cost"], *(row.split()[1] for row in shown), "--batch-size", "1"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[2:] == shown


def test_the_citation_is_valid() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= content.keys()
    from mav_lightning import __version__

    assert content["version"] == __version__


def test_every_row_of_what_people_meet_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "reading.md").read_text()
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)` \|$", page, re.MULTILINE)
    tables = page.partition("## Known problems")[2].partition("## Damaged files")[0]
    rows = tables.count("\n| ") - tables.count("\n| what ")
    assert len(named) == rows > 60
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}: {test}"
