"""Reports of studies whose names, questions and prompts are hostile: shown as they are, in every file."""

import csv
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hostile_text import HOSTILE

from mav_lightning.ablation.board import write_board
from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.report.rendering import Plot, inline_svg, write_figures
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.escaping import plot_text
from mav_lightning.common.terminal import visible

# variant, metric, question, study, prompt
NAMES = [
    ("</script><script>alert(1)</script>", "a$\\frac$b", "<h1>& | _Which_?", "=cmd()", "<!-- </title>"),
    ("\\input{x} & y % | z", "__m__ [x]", "# $\\sum$ `q`", "*s*\nt", "\u202e\x1b[31m prompt"),
    ('"><img src=x onerror=alert(1)>', "=1+1", "\\\\", "-{[", "{{ 7 * 7 }}"),
    ("../../x" + "é" * 80, "a/b|c\td", "x" * 300, "\x00", "'\"&gt;"),
]


DRAWN = {"path", "use", "g", "text", "defs", "clippath", "rect"}  # figures have more or fewer of these


class Page(HTMLParser):
    """Tags with the names of their attributes, counted, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[tuple[str, ...]] = Counter()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in DRAWN:
            self.tags[tag, *(name for name, _ in attrs)] += 1

    def handle_data(self, data: str) -> None:
        self.text += data


def words(text: str) -> str:
    return " ".join(visible(text).split())


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Plain data with texts and keys replaced."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def rename(file: Path, names: dict[str, str], *sections: str) -> None:
    content = json.loads(file.read_text())
    for section in sections:
        content[section] = renamed(content[section], names)
    file.write_text(json.dumps(content))


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@pytest.mark.parametrize(("variant", "metric", "question", "name", "prompt"), NAMES)
def test_every_file_of_a_report_shows_names_as_they_are(
    finished_study: Path, finished_report: Path, tmp_path: Path,
    variant: str, metric: str, question: str, name: str, prompt: str,
) -> None:  # fmt: skip
    study = shutil.copytree(finished_study, tmp_path / "out", symlinks=True)
    plain = Page(finished_report.read_text())
    rows = list(csv.reader(finished_report.with_name("report.csv").open()))
    content = json.loads((study / "study.json").read_text())["study"]
    names = {"per_frame": variant, "law": metric, content["question"]: question, "quick": name}
    rename(study / "study.json", names, "study", "trials")
    for file in study.glob("stages/score-*/results.json"):
        rename(file, names, "metrics")
    for file in study.glob("stages/sample-*/clips/manifest.json"):
        prompts = {clip["prompt"]: prompt for clip in json.loads(file.read_text())["clips"]}
        rename(file, prompts, "clips")

    text = build_report(study).read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags == plain.tags
    for shown in (variant, metric, question, name, prompt):
        assert words(shown) in words(page.text)
    clips = json.loads(re.search(r'id="clip-data">(.*?)</script>', text, re.DOTALL)[1])
    assert clips["strips"].keys() == {"temporal", variant} and {clip["prompt"] for clip in clips["shown"]} == {prompt}

    assert json.loads((study / "report.json").read_text())["study"]["question"] == question
    told = list(csv.reader((study / "report.csv").open(newline="")))
    assert [len(row) for row in told] == [len(row) for row in rows]
    assert not [cell for row in told for cell in row[:4] if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))]
    tex = (study / "report.tex").read_text()
    body = [line for line in tex.splitlines() if line.endswith(r" \\")]
    assert len(body) == 3 and {len(re.findall(r"(?<!\\)&", line)) for line in body} == {4}
    table = [line for line in (study / "report.md").read_text().splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) >= 5 for line in table)
    assert all(file.parent == study / "figures" for file in (study / "figures").rglob("*"))


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_a_plot_reads_no_name_as_a_formula_and_hides_none(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name.strip()]

    def draw(axes: Any, palette: Any) -> None:
        axes.set_yticks(range(len(names)), [plot_text(name) for name in names])

    plot = Plot("../p", "a$\\frac$b", "$x_1^2$", "\\frac", draw, {name: i for i, name in enumerate(names)}, "")
    root = ElementTree.fromstring(inline_svg(plot))
    texts = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {plot_text(name) for name in names} | {"a$\\frac$b", "\\frac"} <= texts
    assert [file.parent for file in write_figures([plot], tmp_path / "f")] == [tmp_path / "f"] * 2


def test_a_matplotlibrc_changes_no_figure(tmp_path: Path) -> None:
    import matplotlib

    def draw(axes: Any, palette: Any) -> None:
        axes.plot([0, 1])

    plot = Plot("p", "title", "label", "", draw, {"a": 0}, "")
    before = inline_svg(plot)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert inline_svg(plot) == before


def test_the_board_of_a_study_keeps_names_inside_its_folder(finished_study: Path, tmp_path: Path) -> None:
    study = shutil.copytree(finished_study, tmp_path / "deep" / "out", symlinks=True)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(study)}
    rename(study / "study.json", {"per_frame": "../../../x"}, "study", "trials")

    write_board(read_results(study, read_plan(study)))
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(study)} == before
