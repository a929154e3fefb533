"""Text from files reaches the terminal as text."""

import io

import pytest
from rich.table import Table

from mav_lightning.cli.printing import echo, list_files
from mav_lightning.common.console import SafeConsole, styled
from mav_lightning.common.terminal import one_line, shorten, visible


def printed(text: str) -> str:
    drawn = io.StringIO()
    SafeConsole(file=drawn, width=200).print(text)
    return drawn.getvalue()


@pytest.mark.parametrize("text", ["[/]", "[red]x", "a[/]b", "\\[x]", ":smile:", "[link=https://a.b]c[/link]", "\\"])
def test_markup_is_shown(text: str) -> None:
    assert printed(text) == f"{text}\n"


def test_control_characters_are_shown() -> None:
    assert visible("\x1b]0;title\x07\x1b[31mred\x9b1m\x7f") == "\\x1b]0;title\\x07\\x1b[31mred\\x9b1m\\x7f"
    assert printed("\x1b]0;title\x1b[31mred\x9b1m\x7f") == "\\x1b]0;title\\x1b[31mred\\x9b1m\\x7f\n"
    assert visible("a\u202eb\r") == "a\\u202eb\\r" and visible("b\udce9") == "b\\udce9"
    assert visible("häuser\tund\n猫") == "häuser\tund\n猫" and one_line("häuser\tund\n猫") == "häuser\\tund\\n猫"
    assert shorten("a\tb\n" + "x" * 300) == f"a\\tb\\n{'x' * 194}…"


def test_lines_are_counted_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    list_files("bad", ["a\x1b", "b", "c"], most=2)
    echo("fine")
    out, err = capsys.readouterr()
    assert err == "3 bad:\n  a\\x1b\n  b\n  … and 1 more\n"
    assert out == "fine\n"


def test_a_table_that_does_not_fit_becomes_lines_and_nothing_is_cut() -> None:
    table = Table("metric", "value", "95 % interval", "n", box=None)
    table.add_row("shapes-fvd", "30.4", "28 … 33.1", "")

    wide, narrow = io.StringIO(), io.StringIO()
    SafeConsole(file=wide, width=60).print_table(table)
    SafeConsole(file=narrow, width=30).print_table(table)

    assert [line.split() for line in wide.getvalue().splitlines()] == [
        ["metric", "value", "95", "%", "interval", "n"], ["shapes-fvd", "30.4", "28", "…", "33.1"],
    ]  # fmt: skip
    assert narrow.getvalue() == "shapes-fvd: value 30.4, 95 % \ninterval 28 … 33.1\n"


def test_a_row_that_became_a_line_keeps_its_styles() -> None:
    table = Table("metric", "a", "b", "", box=None)
    table.add_row("shapes-fvd", styled(("30.4", "bold"), " (28 … 33.1)"), "", "█")
    narrow = io.StringIO()
    SafeConsole(file=narrow, width=20, force_terminal=True, color_system="standard").print_table(table)
    assert " ".join(narrow.getvalue().split()) == "shapes-fvd: a \x1b[1m30.4\x1b[0m (28 … 33.1), █"
