"""Reports of studies that failed, have not begun, or are damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.run import run_study
from mav_lightning.common.errors import UserError

Write = Callable[..., Path]


def test_a_failure_is_reported_with_its_log_and_the_rest_is_reported(
    write_study: Write, stubs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAIL", "temporal")
    edited = write_study(("question: Do", "question: <script>alert(1)</script> Do"))
    study = run_study(edited, tmp_path / "out", executor=stubs)

    assert not study.outcome.complete
    assert {stage.name for stage in study.outcome.skipped} == {"sample", "score"}
    text = build_report(study.root).read_text()
    facts = json.loads((study.root / "report.json").read_text())
    assert facts["answer"] == "No pair of trials is complete yet."
    assert facts["trials"] == {"planned": 4, "complete": 2}
    assert facts["failures"][0]["exit"] == 3
    assert "RuntimeError: the stub was told to fail" in text
    assert "temporal, seed 1: stage <b>temporal</b> failed." in text
    assert "<script>alert(1)" not in text


@pytest.mark.parametrize(
    ("how", "told", "last"),
    [
        ("segfault", "was terminated by SIGSEGV (segmentation fault)", "the stub was told to die: segfault"),
        (
            "kill",
            "was killed (SIGKILL), which the kernel does when memory runs out",
            "the stub was told to die: kill",
        ),
        ("memory", "exited with code 1", "MemoryError"),
        ("diverge", "exited with code 1", "loss is nan at step 7; lower the learning rate."),
    ],
)
def test_a_trial_that_dies_is_reported_and_the_others_go_on(
    write_study: Write, stubs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, told: str, last: str
) -> None:
    monkeypatch.setenv("STUB_DIE", f"temporal:{how}")
    study = run_study(write_study(), tmp_path / "out", ["seeds=[0]"], executor=stubs)
    text = build_report(study.root).read_text()
    facts = json.loads((study.root / "report.json").read_text())

    assert facts["trials"] == {"planned": 2, "complete": 1}
    assert [(f["stage"], f["how"]) for f in facts["failures"]] == [("temporal", told)] and told in text
    assert last in facts["failures"][0]["log"][-1] and last in text
    table = {row["variant"]: row["values"] for row in facts["table"][0]["rows"]}
    assert table["temporal"] == [None] and table["per_frame"][0] is not None, "never averaged away"

    monkeypatch.delenv("STUB_DIE")
    again = run_study(write_study(), tmp_path / "out", ["seeds=[0]"], executor=stubs)
    assert again.outcome.complete
    assert {stage.name for stage in again.outcome.ran} == {"temporal", "sample", "score"}


def test_a_study_that_has_not_begun_has_a_report_too(
    write_study: Write, stubs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAIL", "data")
    run_study(write_study(), tmp_path / "out", executor=stubs)
    build_report(tmp_path / "out", tmp_path / "elsewhere")

    assert "There is no complete pair yet" in (tmp_path / "elsewhere" / "report.html").read_text()
    assert (tmp_path / "elsewhere" / "report.md").exists()


def test_a_folder_without_a_study_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such folder; give the folder of a study, which `mav abl"):
        build_report(tmp_path / "nowhere")
    with pytest.raises(UserError, match="study.json: no such file; give the folder of a study"):
        build_report(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "study.json: not valid JSON"),
        ("{}", "`FrozenPlan` needs"),
        ("[]", "study.json: must be a"),
        ("[" * 100_000, "study.json: nested too deeply"),
        ('{"study": {"name": 3}, "trials": []}', "study.json.study"),
        ('{"study": null, "trials": [{"variant": "on"}]}', "study.json.study"),
    ],
)
def test_a_damaged_study_is_rejected(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "study.json").write_text(content)

    with pytest.raises(UserError) as caught:
        build_report(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("record", "section", "value", "message"),
    [
        (
            "results.json",
            "metrics",
            {"law": {"value": "high", "better": "higher"}},
            "metrics.law: value: must be",
        ),
        ("results.json", "metrics", [], "metrics: must be a mapping"),
        ("done.json", "seconds", "long", "seconds: must be"),
        ("done.json", "versions", {"torch": 2}, "versions.torch: must be text"),
    ],
)
def test_a_damaged_record_is_rejected(
    finished_study: Path, tmp_path: Path, record: str, section: str, value: Any, message: str
) -> None:
    study = shutil.copytree(finished_study, tmp_path / "out", symlinks=True)
    file = next((study / "stages").glob(f"score-*/{record}"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {section: value}))

    with pytest.raises(UserError) as caught:
        build_report(study)
    assert message in str(caught.value)
