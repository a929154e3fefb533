import csv
import html.parser
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.report.clip_gallery import gather_clips
from mav_lightning.ablation.report.figures import draw_figures
from mav_lightning.ablation.report.marks import marks
from mav_lightning.ablation.report.text import join, number, signed
from mav_lightning.ablation.results import StudyResults, TrialResult, read_results
from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import read_manifest, write_manifest

Write = Callable[..., Path]


class Page(html.parser.HTMLParser):
    """Collects what a page would load, its ids, and the tags it opens and never closes."""

    VOID = {"meta", "link", "input", "img", "br", "path", "use", "line", "rect"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]
        self.ids += [named["id"] or ""] if "id" in named else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_a_report_is_one_offline_page_with_markdown_and_json(finished_report: Path) -> None:
    text = finished_report.read_text()
    page = Page(text)

    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"(?:url\(|@import|fetch\()\s*['\"]?(?!#)\w", text)
    facts = json.loads(finished_report.with_suffix(".json").read_text())
    assert facts["answer"].startswith(
        "On shapes-fvd (lower is better), at both seeds, temporal is ahead of per_frame ("
    )
    assert [group["metric"] for group in facts["table"]] == ["shapes-fvd", "law", "flicker", "appearance"]
    assert facts["trials"] == {"planned": 4, "complete": 4}
    for told in (text, finished_report.with_suffix(".md").read_text()):
        assert "Two seeds give two pairs: too few" in told
        assert "sample.needs.decoder" in told
        assert "shapes-tiny" in told
    assert "speed-ratio" in finished_report.with_suffix(".md").read_text()


def test_every_variant_and_seed_has_a_strip_for_every_clip_shown(finished_report: Path) -> None:
    text = finished_report.read_text()
    clips = json.loads(re.search(r'id="clip-data">(.*?)</script>', text, re.DOTALL)[1])
    shown = {clip["id"] for clip in clips["shown"]}
    assert {v: {s: set(strips) for s, strips in seeds.items()} for v, seeds in clips["strips"].items()} == {
        variant: {"0": shown, "1": shown} for variant in ("temporal", "per_frame")
    }
    strip = clips["strips"]["temporal"]["0"]["000"]
    assert (strip["frames"], strip["width"], strip["height"]) == (9, 16, 16)


def test_a_floor_whose_clips_have_no_prompt_hides_no_other_clip(finished_study: Path, tmp_path: Path) -> None:
    results = read_results(finished_study, read_plan(finished_study))
    plain = gather_clips(results)
    floor = next(one for one in results.trials if one.trial.variant == "per_frame" and one.trial.seed == 0)
    assert floor.clips
    trial = replace(floor.trial, variant="floor")

    folder = shutil.copytree(floor.clips, tmp_path / "clips")
    write_manifest(folder, [replace(clip, prompt=None) for clip in read_manifest(folder)])
    with_floor = gather_clips(replace(results, trials=[replace(floor, trial=trial, clips=folder), *results.trials]))

    assert plain["shown"] and plain["without"] == []
    assert with_floor == plain | {"without": ["floor"]}


def test_a_number_that_no_trial_has_at_any_rate_has_no_figure_by_rate(finished_study: Path) -> None:
    results = read_results(finished_study, read_plan(finished_study))
    assert len(draw_figures(results)["fps"]) == 1

    def without(metric: str, value: dict[str, Any]) -> dict[str, Any]:
        return value | {"value": None, "interval": None} if metric.startswith("speed-ratio") else value

    for result in results.trials:  # as where no clip of an untrained decoder follows any law
        result.scores["metrics"] = {name: without(name, value) for name, value in result.scores["metrics"].items()}
    figures = draw_figures(results)
    assert figures["fps"] == [] and len(figures["pairs"]) == len(results.plan.study.metrics)


@pytest.mark.usefixtures("all_figures")
def test_the_same_study_gives_the_same_files(finished_study: Path, finished_report: Path) -> None:
    pages = [build_report(finished_study), finished_report]

    written = [{file.name: file.read_bytes() for file in page.parent.glob("figures/*")} for page in pages]
    assert pages[0].read_bytes() == pages[1].read_bytes() and written[0] == written[1]


def test_every_figure_is_also_a_pdf_with_embedded_fonts_and_an_svg_without_any(
    finished_report: Path,
) -> None:
    page = finished_report.read_text()

    names = [
        f"{kind}-{metric}" for kind in ("pairs", "cost") for metric in ("shapes-fvd", "law", "flicker", "appearance")
    ]
    files = sorted(finished_report.with_name("figures").iterdir())
    assert [file.name for file in files] == sorted(
        f"{n}.{s}" for n in [*names, "fps-speed-ratio"] for s in ("pdf", "svg")
    )
    assert page.count("<svg") == len(files) / 2 and "<code>figures/</code>" in page
    for file in files:
        content = file.read_bytes()
        if file.suffix == ".pdf":
            width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)[1])
            assert b"/FontFile2" in content and b"/Type3" not in content and width == 3.25 * 72, "a column of a paper"
        else:
            assert b"<text" not in content and b"font-family" not in content, "glyphs are outlines"


def test_a_file_names_the_variants_that_the_page_names_once(finished_report: Path) -> None:
    page = finished_report.read_text()
    costs = page[page.index("What each variant costs") :]

    assert costs.count('class="legend"') == 1 and costs[: costs.index("<table")].count("per_frame") == 1
    assert b"<!-- per_frame -->" in (finished_report.parent / "figures" / "cost-law.svg").read_bytes()


def test_columns_and_metrics_without_any_value_are_not_shown(finished_study: Path, tmp_path: Path) -> None:
    study = shutil.copytree(finished_study, tmp_path / "out", symlinks=True)
    build_report(study)
    (study / "figures" / "own.pdf").write_bytes(b"%PDF")
    for file in study.glob("stages/score-*/results.json"):
        results = json.loads(file.read_text())
        results["metrics"]["law"] |= {"value": None, "interval": None}
        file.write_text(json.dumps(results))

    page, text = build_report(study).read_text(), (study / "report.md").read_text()
    tex = (study / "report.tex").read_text()
    for told in (page, text):
        assert "Without a value in any trial: law." in told
        assert "better at" in told and "effect size |" not in told and "95 % interval" not in told, "of two seeds"
        assert "FLOPs" not in told.partition("What sets the variants apart")[0], "none is countable here"
    assert "own.pdf" in {file.name for file in (study / "figures").iterdir()}, "a file of somebody else's"
    assert "pairs-law.pdf" not in {file.name for file in (study / "figures").iterdir()}
    assert "law" not in tex[tex.index(r"\begin") :] and "% Without a value in any trial: law." in tex
    assert r"\begin{tabular}{lrrr}" in tex


def test_tables_for_papers_and_programs_hold_every_trial_and_variant(finished_report: Path) -> None:
    rows = list(csv.DictReader(finished_report.with_suffix(".csv").open()))
    facts = json.loads(finished_report.with_suffix(".json").read_text())
    tex = finished_report.with_suffix(".tex").read_text()

    assert len(rows) == 4 * 4 and {row["state"] for row in rows} == {"done"}
    law = next(group for group in facts["table"] if group["metric"] == "law")
    values = {row["variant"]: row["values"] for row in law["rows"]}
    for row in rows:
        if row["metric"] == "law":
            assert float(row["value"]) == values[row["variant"]][int(row["seed"])]
            assert float(row["low"]) < float(row["value"]) < float(row["high"])
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]
    assert r"per\_frame & $" in body and body.count(r" \\") == 2 and r"law $\uparrow$" in tex
    assert r"\pm" not in body and r"\mathbf" not in body, "two seeds support neither an interval nor a mark"


def test_the_best_and_the_second_are_marked_only_where_the_seeds_support_it(write_study: Write, tmp_path: Path) -> None:
    plan = load_plan(write_study(("  temporal: {}", "  temporal: {}\n  third: {sample.size: 8}")))
    metric = plan.study.metrics[1]

    def marked(seeds: int, **shift: float) -> dict[str, str]:
        trials = []
        for name in plan.study.order:
            for seed in range(seeds):
                trial = replace(plan.trials[0], variant=name, seed=seed)
                value = shift[name] + [0.0, 0.013, 0.004, 0.021, 0.008, 0.017, 0.002, 0.011][(seed + len(name)) % 8]
                scores = {"metrics": {metric.name: {"value": value, "better": "higher"}}}
                trials.append(TrialResult(trial, {}, scores, {}, None))
        return marks(StudyResults(tmp_path, plan, trials), metric)

    assert marked(8, temporal=0.9, per_frame=0.1, third=0.5) == {"temporal": "best", "third": "second"}
    assert marked(8, temporal=0.9, per_frame=0.5, third=0.5) == {"temporal": "best"}
    assert marked(8, temporal=0.5, per_frame=0.5, third=0.5) == {}
    assert marked(5, temporal=0.9, per_frame=0.1, third=0.5) == {}


def test_numbers_read_as_people_write_them() -> None:
    assert (number(-1.25, 1), number(None, 1), signed(0.5, 2)) == ("−1.2", "–", "+0.50")
    assert (number(-0.0004, 3), signed(-0.0004, 3), signed(0.0004, 3), signed(0.0, 1)) == (
        "0.000",
        "0.000",
        "0.000",
        "0.0",
    )
    assert (signed(-10.0, 0), number(-0.01, 2)) == ("−10", "−0.01")
    assert (join(["a"]), join(["a", "b"]), join(["a", "b", "c"])) == ("a", "a and b", "a, b, and c")


def test_results_from_elsewhere_are_shown_with_their_origin(finished_study: Path, tmp_path: Path) -> None:
    from mav_lightning.ablation.report.added_results import add_results

    study = tmp_path / "study"
    shutil.copytree(finished_study, study)
    score = {"value": 0.7, "interval": [0.4, 0.9], "n": 10, "better": "higher", "unit": "win rate of <a>"}
    content = {"title": "What people prefer: <a> over b", "origin": {"page": "f00d"}, "metrics": {"quality": score}}
    file = tmp_path / "preference.json"
    file.write_text(json.dumps(content | {"pairs": []}))
    add_results(study, file)

    for _ in range(2):  # it stays with the study
        text = build_report(study).read_text()
        assert "<h2>What people prefer: &lt;a&gt; over b</h2>" in text and "page: f00d" in text
        assert "0.700" in text and "0.400 … 0.900" in text
    assert "| quality | 0.700 | 0.400 … 0.900 | 10 |" in (study / "report.md").read_text()
    for change, message in (
        ({"metrics": {"quality": score | {"better": "up"}}}, "metrics.quality.better"),
        ({"title": 3}, "title"),
        ({"origin": {"page": 1}}, "origin.page"),
    ):
        file.write_text(json.dumps(content | change))
        with pytest.raises(UserError, match=message):
            add_results(study, file)
