"""Results are compared where that means something, and refused by the field that differs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evaluation.comparison import read_results, require_comparable
from evaluation.protocol import load_protocol
from mav_lightning.cli.app import app
from mav_lightning.cli.compare import _best
from mav_lightning.common.errors import UserError


def write(path: Path, fvd: float | None, **changes: Any) -> Path:
    protocol = load_protocol("shapes-tiny").to_dict()
    for key, value in changes.items():
        if key in protocol:
            protocol[key] = value
    metrics = {
        "shapes-fvd": {"value": fvd, "interval": [0.0, 40.0], "n": 288, "better": "lower"},
        "speed-ratio": {"value": 1.3 if fvd and fvd < 20 else 0.9, "interval": None, "n": 280, "better": "one"},
    }
    content = {"protocol": protocol, "metrics": metrics, "real_sha256": changes.get("real_set", "a" * 64)}
    content["n"] = {"generated": changes.get("n", 288), "real": 288}
    content["prompts_sha256"] = changes.get("prompts", "c" * 64)
    content["extractors"] = {"video": changes.get("weights", "e" * 64)}
    path.write_text(json.dumps(content))
    return path


def compared(*paths: Path) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, paths)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_like_results_stand_side_by_side_with_intervals_and_n(tmp_path: Path) -> None:
    printed = compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "b.json", 30.5))
    assert "18 (0 … 40), n 288" in printed and "30.5 (0 … 40), n 288" in printed
    assert "protocol shapes-tiny (" in printed


def test_a_name_in_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "[red]").mkdir()
    printed = compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "[red]" / "b.json", 30.5))
    assert "[red]" in "".join(printed.split())


def test_a_protocols_name_is_no_difference(tmp_path: Path) -> None:
    compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "b.json", 30.5, name="copied"))


def test_a_missing_value_is_shown_as_missing(tmp_path: Path) -> None:
    assert "–" in compared(write(tmp_path / "a.json", None), write(tmp_path / "b.json", 30.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 16}, "they differ in frames: 9 and 16"),
        ({"frames": 16, "size": 32}, "frames: 9 and 16; size: 16 and 32"),
        ({"real": None}, "they differ in real"),
        ({"weights": "f" * 64}, "they differ in weights.video: e{64} and f{64}"),
        ({"prompts": None}, "they differ in prompts: cccccccccccccccc and none"),
        ({"n": 36}, "they differ in number of clips: 288 and 36"),
        ({"real_set": "b" * 64}, "real clips: aaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbb. Evaluate both under one protocol"),
    ],
)
def test_unlike_results_are_refused_by_what_differs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    read = [read_results(write(tmp_path / "a.json", 1.0)), read_results(write(tmp_path / "b.json", 1.0, **changes))]
    with pytest.raises(UserError, match=message):
        require_comparable(["a.json", "b.json"], read)


def test_what_are_no_results_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UserError, match=r"x\.json: must be a mapping"):
        read_results(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"none\.json: no such file; name a file that `mav evaluate` wrote"):
        read_results(tmp_path / "none.json")
    with pytest.raises(UserError, match="at least 2 files are needed, got 1"):
        CliRunner().invoke(app, ["compare", "a.json"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"protocol": [], "metrics": {}, "n": {}, "real_sha256": null}', "protocol: must be a mapping"),
        ('{"protocol": {}, "metrics": {"a": 1}, "n": {}, "real_sha256": null}', "metrics.a: must be"),
        ('{"protocol": {}, "metrics": {}, "n": {"generated": "x"}, "real_sha256": null}', "n.generated: must be"),
        ('{"protocol": {}, "metrics": {}, "n": {"generated": 1}, "real_sha256": null}', "no `protocol.name`"),
    ],
)
def test_a_damaged_file_is_a_message_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=rf"x\.json.*{message}"):
        read_results(tmp_path / "x.json")


@pytest.mark.parametrize(("better", "best"), [("lower", 1), ("higher", 0), ("one", 2), ("neither", None)])
def test_the_best_is_what_the_metric_says(better: str, best: int | None) -> None:
    assert _best([3.0, 0.2, 1.1, None], better) == best
    assert _best([1.0, 1.0], better) is None
