"""Help texts flow at any width, and their examples are commands that exist."""

import errno
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup

from mav_lightning.cli import app as app_module
from mav_lightning.cli.app import command_line, main
from mav_lightning.common.errors import UserError
from mav_lightning.config import find_config


def commands(command: TyperCommand | TyperGroup, name: str = "mav") -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    yield name, command
    for word, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, f"{name} {word}")


def examples() -> list[str]:
    lines = [line for _, command in commands(command_line()) for line in (command.help or "").split("\n")]
    found = [line.removeprefix("Example: ").strip() for line in lines]
    return [line for line in found if line.startswith("mav ")]


def test_many_commands_show_examples() -> None:
    assert len(examples()) > 20


def parse(command: TyperCommand | TyperGroup, words: list[str]) -> None:
    """Parse the words of a command in the current folder, where every input it complains about is made."""
    for _ in range(len(words)):
        try:
            command.make_context(command.name, list(words))
            return
        except UserError as error:
            missing = re.match(r"(.+?): (?:no such (file|folder)|holds no `(.+?)`)", error.message)
            assert missing, str(error)
            path = Path(missing[1])
            if missing[2] == "folder":
                path.mkdir(parents=True)
            else:
                (path / missing[3] if missing[3] else path).parent.mkdir(parents=True, exist_ok=True)
                (path / missing[3] if missing[3] else path).touch()


def test_every_command_has_an_example() -> None:
    told = {name for name, command in commands(command_line()) if not getattr(command, "commands", {})}
    shown = {" ".join(shlex.split(example)[:3]) for example in examples()}
    without = {name for name in told if not any(f"{one} ".startswith(f"{name} ") for one in shown)}
    assert without == {"mav version"}, "it takes no arguments"


def test_every_command_that_reads_a_network_accepts_packages_of_ones_own() -> None:
    reads = re.compile(r"Folder of (a|an|the) (trained|adopted) ")
    for name, command in commands(command_line()):
        if any(reads.match(getattr(one, "help", None) or "") for one in command.params):
            assert "allow" in {one.name for one in command.params}, name


@pytest.mark.parametrize("example", examples())
def test_an_example_is_a_command_with_options_and_configs_that_exist(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(example, comments=True)[1:]
    command: TyperCommand | TyperGroup = command_line()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[union-attr]
    assert not getattr(command, "commands", {}), "the example names no command"

    parse(command, words)

    for word in words:
        if word.split("/")[0] in ("stage", "ablation", "recipe") and word.endswith(".yaml"):
            find_config(word)


def test_paragraphs_are_not_wrapped_in_the_source() -> None:
    for name, command in commands(command_line()):
        for paragraph in (command.help or "").split("\n\n"):
            lines = [line for line in paragraph.split("\n") if not line.startswith("mav ") and line.strip(" \b")]
            assert len(lines) <= 1, f"{name}: {lines}"


@pytest.mark.parametrize("columns", [30, 80, 110])
def test_help_fits_the_terminal_and_cuts_nothing(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    def page(*words: str) -> str:
        command_line().main([*words, "--help"], prog_name="mav", standalone_mode=False)
        return capsys.readouterr().out

    options = page("generate")
    wide = [line for line in options.split("\n") if len(line) > columns]
    assert not [line for line in wide if not line.startswith(("  mav ", "  --"))], "examples and names are not broken"
    assert "  --prompts-file <path>" in options
    assert "if they were measured in the same way; else report what differs." in " ".join(page().split())


def test_a_wrong_choice_is_named_without_the_words_of_a_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(monkeypatch, capsys, "generate", "x", "--out", "o", "--format", "webm")
    assert code == 2
    assert "Invalid value for '--format': 'webm' is not one of 'mp4', 'mkv', 'gif', 'frames'." in printed


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mav", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--fps", "nan"),
        ("--seconds", "inf"),
        ("--seed", "-1"),
        ("--processes", "0"),
        ("--size", "15"),
        ("--size", "1000000"),
    ],
)
def test_errors_name_the_option_at_fault(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(monkeypatch, capsys, "data", "shapes", "--out", str(tmp_path / "out"), option, value)
    assert code == 2
    assert printed.startswith(f"error: {option}: ")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> TyperGroup:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a[/]b")

    monkeypatch.setattr(app_module, "command_line", full)
    code, printed = run(monkeypatch, capsys)
    assert code == 2
    assert re.fullmatch(
        r"error: a\[/\]b: the disk is full \([\d.]+ \w+ left\); free some space and run the command again\.\n", printed
    )
