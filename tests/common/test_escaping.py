"""Hostile text comes out of every format as the same text, and as nothing else."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_text import HOSTILE
from markdown_it import MarkdownIt

from mav_lightning.common.escaping import (
    csv_cell,
    file_name,
    html,
    latex,
    markdown,
    markdown_code,
    plot_text,
    script_json,
)
from mav_lightning.common.terminal import visible

every_text = pytest.mark.parametrize("text", HOSTILE)


class Parsed(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(source: str) -> Parsed:
    return Parsed(MarkdownIt("commonmark").enable("table").render(source))


def words(text: str) -> str:
    return " ".join(text.split())


@every_text
def test_html_keeps_text_out_of_tags(text: str) -> None:
    page = Parsed(f'<p title="{html(text)}">{html(text)}</p>')

    assert page.tags == [("p", [("title", visible(text))])] and page.text == visible(text)


@every_text
def test_json_in_a_script_ends_where_the_script_ends(text: str) -> None:
    shown = script_json({"text": text})

    assert json.loads(shown) == {"text": text} and not re.search(r"[<>]", shown)


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip()])
@pytest.mark.parametrize("place", ["# {}", "{}", "| {} | end |\n|---|---|\n| 1 | 2 |", "- {}"])
def test_markdown_shows_text_wherever_it_stands(text: str, place: str) -> None:
    page, plain = rendered(place.format(markdown(text))), rendered(place.format("x"))

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert words(page.text) == words(plain.text.replace("x", plot_text(text), 1))


@every_text
def test_a_code_span_holds_text_in_a_table_as_well(text: str) -> None:
    page = rendered(f"| {markdown_code(text)} | end |\n|---|---|\n| 1 | 2 |")

    assert [tag for tag, _ in page.tags].count("code") == 1 and [tag for tag, _ in page.tags].count("th") == 2
    assert words(page.text) == words(f"{plot_text(text)} end 1 2")


@every_text
def test_latex_has_no_special_character_left(text: str) -> None:
    escaped = latex(f"a{text}b")
    bare = re.sub(r"\\(?:text\w+\{\}|symbol\{34\}|[$&#%_{}])|\{[\[\]*]\}|(?<=[-,'])\{\}", " ", escaped)

    assert not re.search(r'[\\{}$&#%_^~<>|"`\[\]*\n\t\x00-\x1f]|--|,,|\'\'', bare)


@every_text
def test_a_spreadsheet_runs_no_cell(text: str) -> None:
    line = io.StringIO()
    csv.writer(line).writerow([csv_cell(text), 1.5])
    cell, number = next(csv.reader(io.StringIO(line.getvalue(), newline="")))

    assert cell.strip()[:1] not in tuple("=+-@＝＋－＠") and cell[:1] not in ("\t", "\r", "\n")
    assert cell.removeprefix("'") == visible(text).removeprefix("'") and number == "1.5"


@every_text
def test_a_file_name_stays_in_its_folder(text: str, tmp_path: Path) -> None:
    file = tmp_path / file_name(text)
    file.mkdir()

    assert [*tmp_path.iterdir()] == [file]


def test_file_names_of_different_texts_differ() -> None:
    texts = [*HOSTILE, "x" * 200, "x" * 201, "1/2", "1%2F2", "1-2"]

    assert len({file_name(text) for text in texts}) == len(texts)
    assert (file_name("per_frame-seed0"), file_name("speed-ratio@4")) == ("per_frame-seed0", "speed-ratio@4")


def test_plain_names_stay_as_they_are() -> None:
    for name in ("per_frame", "shapes-fvd", "both+seconds", "0.5", "speed-ratio@16"):
        assert (html(name), latex(name).replace(r"\_", "_"), csv_cell(name)) == (name, name, name)
        assert markdown(name) == name and markdown_code(name) == f"`{name}`"


def test_halves_of_characters_are_spelled_out() -> None:
    assert visible("b\udce9") == "b\\udce9"
    for text in HOSTILE:
        visible(text).encode()  # or it raises
