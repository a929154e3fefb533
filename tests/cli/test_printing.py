"""Lists on the terminal."""

import io

import pytest

from mav_lightning.cli.printing import echo, list_files
from mav_lightning.common.console import SafeConsole


def test_markup_is_shown() -> None:
    for text in ("[/]", "[red]x", "a[/]b", "\\[x]", ":smile:"):
        drawn = io.StringIO()
        SafeConsole(file=drawn).print(text)
        assert drawn.getvalue() == f"{text}\n"


def test_lines_are_counted_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    list_files("bad", ["a\x1b", "b", "c"], most=2)
    echo("fine")
    out, err = capsys.readouterr()
    assert err == "3 bad:\n  a\\x1b\n  b\n  … and 1 more\n"
    assert out == "fine\n"
