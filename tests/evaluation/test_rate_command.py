"""`mav rate`: the page and the results from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rating_folders import write_system

from mav_lightning.cli.app import main

Rate = Callable[..., tuple[int, str]]


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rate:
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["mav", "rate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(ended.value.code or 0), " ".join((told.out + told.err).split())

    return run


@pytest.fixture
def systems(tmp_path: Path) -> tuple[Path, Path]:
    return write_system(tmp_path / "ours", 0, ["a", "b"]), write_system(tmp_path / "theirs", 1, ["a", "b"])


def test_from_two_folders_to_a_win_rate(systems: tuple[Path, Path], tmp_path: Path, rate: Rate) -> None:
    out = tmp_path / "rating"
    table = tmp_path / "prompts.tsv"
    table.write_text("id\tprompt\n0\ta cat\n1\ta dog\n")
    asked = ("--ask", "quality", "faithfulness", "Which is funnier?")
    code, told = rate(*systems, "--prompts", table, *asked, "--out", out)
    assert code == 0 and "2 pairs, 6 questions for each rater" in told

    key = json.loads((out / "key.json").read_text())
    assert {item["prompt"] for item in key["items"].values()} == {"a cat", "a dog"}
    files = []
    for rater in range(5):
        answers = [
            {"item": name, "choice": "x" if item["x"] == 0 else "y", "left": "x", "seconds": 1}
            for name, item in key["items"].items()
        ]
        files.append(tmp_path / f"{rater}.json")
        own = {"version": 1, "form": key["form"], "rater": str(rater), "saved": "now", "answers": answers}
        files[-1].write_text(json.dumps(own))
    code, told = rate("--out", out, "--collect", *files)
    assert code == 0 and "quality: 2 won, 0 tied, 0 lost; Fleiss' kappa –" in told and "warning" not in told
    results = json.loads((out / "preference.json").read_text())
    assert results["metrics"]["Which is funnier?"]["value"] == 1.0

    code, told = rate("--out", out, "--collect", *files[:4])
    assert code == 0 and "warning: quality: a pair has 4 answers; the paper takes the majority of 5." in told


def test_mistakes_are_told_before_anything_is_written(systems: tuple[Path, Path], tmp_path: Path, rate: Rate) -> None:
    out = tmp_path / "rating"
    for words, message in (
        ((systems[0], "--out", out), "2 folders are needed, got 1; name both before the options."),
        ((*systems, "--out", out, "--ask", "beauty"), "--ask: unknown question 'beauty'"),
        ((*systems, "--out", systems[0]), "already holds something"),
        ((systems[0], tmp_path / "none", "--out", out), "none: no such folder"),
        (("--collect", systems[0] / "manifest.json", "--out", out), "key.json"),
        ((*systems, "--collect", systems[0] / "manifest.json"), "--collect: only --out can be combined with it"),
    ):
        code, told = rate(*words)
        assert code == 2 and message in told, told
    assert not out.exists()


def test_the_same_clips_are_no_two_systems(
    systems: tuple[Path, Path], tmp_path: Path, rate: Rate, caplog: pytest.LogCaptureFixture
) -> None:
    code, told = rate(systems[0], systems[0], "--out", tmp_path / "rating")
    assert code == 2 and "hold the same clips; name the folders of two systems." in told

    (systems[1] / "0.mkv").write_bytes((systems[0] / "0.mkv").read_bytes())
    code, _ = rate(*systems, "--out", tmp_path / "rating")
    assert code == 0 and "1 of 2 pairs with the same bytes on both sides, first `a`; raters cannot" in caplog.text


def test_a_page_of_no_prompts_is_rejected(systems: tuple[Path, Path], tmp_path: Path, rate: Rate) -> None:
    (tmp_path / "prompts.txt").write_text("a cow\n")
    code, told = rate(*systems, "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "rating")
    assert code == 2 and "has no clip of 1 prompts, first `a cow`" in told
