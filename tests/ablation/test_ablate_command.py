import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import freeze
from mav_lightning.cli.ablate import ablate
from mav_lightning.cli.report import report
from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import claim
from mav_lightning.runs import executor
from mav_lightning.runs.ledger import Ledger

Write = Callable[..., Path]
app = typer.Typer()
app.command()(ablate)
app.command()(report)


@pytest.fixture(autouse=True)
def stub_stages(monkeypatch: pytest.MonkeyPatch, stub_command: tuple[str, ...]) -> None:
    monkeypatch.setattr(executor, "STAGE_COMMAND", stub_command)


def test_a_dry_run_says_what_would_run_and_writes_nothing(write_study: Write, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ablate", str(write_study()), "--out", str(tmp_path / "out"), "--dry-run"])

    assert result.exit_code == 0
    assert "4 trials, 15 stages: 15 pending. Nothing was run." in result.output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_the_time_left_from_what_finished_siblings_took(write_study: Write, tmp_path: Path) -> None:
    command = ["ablate", str(write_study()), "--out", str(tmp_path / "out")]
    CliRunner().invoke(app, [*command, "seeds=[0]"])
    result = CliRunner().invoke(app, [*command, "--jobs", "2", "--dry-run"])

    # a stub says 21 s of a clip stage, 148.2 of a spatial, 287.4 of a temporal, 6.5 of each of 2 samples and 2 scores
    assert "about 4 min 01 s with --jobs 2, estimated from finished stages." in " ".join(result.output.lower().split())
    assert "15 stages: 8 done, 7 pending" in result.output


def test_a_dry_run_says_who_runs_a_stage_and_when_it_last_gave_a_sign(write_study: Write, tmp_path: Path) -> None:
    out, study = tmp_path / "out", write_study()
    plan = load_plan(study)
    freeze(plan, out)
    lease = claim(Ledger(out).folder(plan.stages[0]).path)
    assert lease
    told = CliRunner().invoke(app, ["ablate", str(study), "--out", str(out), "--dry-run"]).output
    lease.release()

    words = " ".join(told.split())
    assert "1 running, 14 pending" in words and "running: process" in words and str(os.getpid()) in words


def test_without_running_the_stages_beside_count_and_must_be_there(
    write_study: Write, finished_study: Path, tmp_path: Path
) -> None:
    study, first = str(write_study()), finished_study
    command = ["ablate", study, "--out", str(tmp_path / "second"), "--beside"]

    assert "15 stages: 15 done" in CliRunner().invoke(app, [*command, str(first), "--dry-run"]).output
    assert "law" in CliRunner().invoke(app, [*command, str(first), "--power", "law=0.1"]).output
    for option in (["--dry-run"], ["--power", "law=0.1"]):
        with pytest.raises(UserError, match=r"nowhere: no such folder"):
            CliRunner().invoke(app, [*command, "nowhere", *option], catch_exceptions=False)
    assert not (tmp_path / "second").exists()


def test_power_says_how_many_seeds_a_difference_needs_and_runs_nothing(
    write_study: Write, finished_study: Path
) -> None:
    command = ["ablate", str(write_study()), "--out", str(finished_study)]
    before = sorted(finished_study.rglob("*"))
    result = CliRunner().invoke(app, [*command, "--power", "law=0.5", "--power", "appearance=0.0001"])

    law, appearance = (line.split() for line in result.output.splitlines() if "per_frame" in line)
    assert law[:4] == ["law", "0.5", "per_frame", "2"] and int(law[5]) >= 6
    assert "over 1000" in " ".join(appearance)
    assert sorted(finished_study.rglob("*")) == before


def test_where_all_differences_are_equal_power_says_that_no_spread_is_seen(
    write_study: Write, finished_study: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished_study, tmp_path / "out")
    command = ["ablate", str(write_study()), "--out", str(out)]
    for file in out.glob("stages/score-*/results.json"):
        results = json.loads(file.read_text())
        results["metrics"]["law"]["value"] = 0.5
        file.write_text(json.dumps(results))

    (line,) = [
        line
        for line in CliRunner().invoke(app, [*command, "--power", "law=0.5"]).output.splitlines()
        if "per_frame" in line
    ]
    assert line.split() == ["law", "0.5", "per_frame", "2", "no", "spread", "–", "–"]


def test_an_effect_that_is_no_number_is_reported(write_study: Write, tmp_path: Path) -> None:
    command = ["ablate", str(write_study()), "--out", str(tmp_path / "out"), "--power", "law=big"]

    assert "power: law=big: the effect must be a number, for example law=0.1." in str(
        CliRunner().invoke(app, command).exception
    )


def test_a_study_is_run_and_reported_and_its_report_can_be_written_again(write_study: Write, tmp_path: Path) -> None:
    arguments = [str(write_study()), "seeds=[3]", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["ablate", *arguments])
    assert result.exit_code == 0, result.output
    assert f"report: {tmp_path / 'out' / 'report.html'}" in result.output

    (tmp_path / "out" / "report.html").unlink()
    assert CliRunner().invoke(app, ["report", str(tmp_path / "out")]).exit_code == 0
    assert (tmp_path / "out" / "report.html").exists()


def test_failed_stages_are_named_and_the_exit_code_is_1(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAIL", "spatial")
    result = CliRunner().invoke(app, ["ablate", str(write_study()), "seeds=[3]", "--out", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert "failed: spatial-" in result.output
    assert "the stub was told to fail" in result.output
    assert "5 stages that need them were skipped" in " ".join(result.output.split())


def test_a_wrong_study_runs_nothing(write_study: Write, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ablate", str(write_study()), "--out", str(tmp_path / "out"), "tmporal.x=1"])

    assert isinstance(result.exception, UserError)
    assert not (tmp_path / "out").exists()


def test_jobs_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="jobs: must be at least 1, got 0"):
        executor.Local(jobs=0)


def test_settings_of_a_cluster_are_refused_without_one(write_study: Write, tmp_path: Path) -> None:
    command = ["ablate", str(write_study()), "--out", str(tmp_path / "out"), "--gpus", "0.5"]

    assert "executor: `ray` is needed for an address or GPUs; add --executor ray" in str(
        CliRunner().invoke(app, command).exception
    )
    assert not (tmp_path / "out").exists()
