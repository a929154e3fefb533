"""A study submitted to SLURM, with stand-ins for `sbatch`, `squeue` and `scontrol`; each test runs the jobs itself."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import submit_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.cli.ablate import ablate
from mav_lightning.common.errors import UserError
from mav_lightning.runs import executor
from mav_lightning.runs.slurm import Slurm, Submission

Write = Callable[..., Path]
app = typer.Typer()
app.command()(ablate)
app.command("other")(lambda: None)

SBATCH = """#!{python} -IS
import os, shutil, sys
from pathlib import Path
spool = Path({spool!r})
if (spool / "closed").exists():
    sys.exit("sbatch: error: Batch job submission failed: Invalid partition name specified")
job = 101 + len(list(spool.glob("*.sh")))
shutil.copy(sys.argv[-1], spool / f"{{job}}.sh")
(spool / f"{{job}}.args").write_text("\\n".join(sys.argv[1:-1]))
array = next(word for word in sys.argv if word.startswith("--array=0-"))
for element in range(int(array.removeprefix("--array=0-").partition("%")[0]) + 1):
    (spool / "queue" / f"{{job}}_{{element}}").touch()
print(f"{{job}};cluster")
"""


class Cluster:
    """The jobs that were submitted; `run` runs them in order, as if each had waited for what it depends on."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        (spool / "queue").mkdir(parents=True)
        self.write("sbatch", SBATCH.format(python=sys.executable, spool=str(spool)))
        self.write("squeue", f"#!/bin/sh\nls {spool}/queue\n")
        self.write("scontrol", f'#!/bin/sh\necho "$@" >> {spool}/asked\n')

    def write(self, name: str, text: str) -> None:
        (self.spool / name).write_text(text)
        (self.spool / name).chmod(0o755)

    @property
    def queue(self) -> list[str]:
        return sorted(path.name for path in (self.spool / "queue").iterdir())

    def options(self, job: int) -> list[str]:
        return (self.spool / f"{job}.args").read_text().splitlines()

    def start(self, name: str, **environment: str) -> "subprocess.Popen[bytes]":
        job, _, element = name.partition("_")
        slurm = {"SLURM_JOB_ID": f"9{job}", "SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": element}
        log = next(word for word in self.options(int(job)) if word.startswith("--output=")).removeprefix("--output=")
        with open(log.replace("%A", job).replace("%a", element), "ab") as output:
            command = ["sh", str(self.spool / f"{job}.sh")]
            env = os.environ | slurm | environment
            return subprocess.Popen(command, stdout=output, stderr=output, env=env)

    def run(self, **environment: str) -> dict[str, int]:
        """Run all queued elements, and take them out of the queue; return the exit code of each."""
        codes = {}
        for name in self.queue:
            codes[name] = self.start(name, **environment).wait(60)
            (self.spool / "queue" / name).unlink()
        return codes


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    spool = tmp_path / "spool"
    monkeypatch.setenv("PATH", f"{spool}{os.pathsep}{os.environ['PATH']}")
    return Cluster(spool)


@pytest.fixture
def submitted(write_study: Write, stub_command: tuple[str, ...], tmp_path: Path) -> Callable[..., Submission]:
    """Submits the study of stub stages, at one seed."""
    file = write_study()

    def again(**settings: Any) -> Submission:
        how = Slurm(command=stub_command, **settings)
        return submit_study(file, tmp_path / "out", lambda study: how, overrides=["seeds=[0]"])

    return again


def names(found: Submission) -> list[list[str]]:
    return [[stage.name for stage in stages] for stages in found.jobs.values()]


def test_each_level_of_stages_is_an_array_that_follows_what_it_needs(
    cluster: Cluster, submitted: Callable[..., Submission], tmp_path: Path
) -> None:
    found = submitted(threads=3, gpus=1, jobs=2, partition="gpu", account="lab", options=("--time=02:00:00",))

    assert list(found.jobs) == ["101", "102", "103", "104", "105", "106"]
    assert names(found) == [["data"], ["clip"], ["spatial"], ["temporal", "sample"], ["sample", "score"], ["score"]]
    out = tmp_path / "out" / "slurm"
    assert cluster.options(104) == [
        *("--parsable", "--job-name=mav-quick", "--array=0-1%2", f"--output={out}/%A_%a.log"),
        *(
            "--dependency=afterany:101:103",
            "--requeue",
            "--signal=B:USR1@120",
            "--open-mode=append",
            "--cpus-per-task=3",
        ),
        *("--partition=gpu", "--account=lab", "--gpus=1", "--time=02:00:00"),
    ]
    assert "--dependency=afterany:104:101" in cluster.options(105), "a score needs its clips and the data"
    assert not any(word.startswith("--dependency") for word in cluster.options(101))


def test_the_jobs_run_the_study_to_the_results_of_one_machine(
    cluster: Cluster, submitted: Callable[..., Submission], finished_study: Path, tmp_path: Path
) -> None:
    submitted()
    assert set(cluster.run().values()) == {0}

    found = submitted()
    assert not found.jobs and not found.queued and len(found.done) == 8
    mine, other = (read_results(out, read_plan(out)).trials for out in (tmp_path / "out", finished_study))
    assert [one.scores for one in mine] == [one.scores for one in other if one.trial.seed == 0]


def test_what_is_queued_is_not_submitted_again(cluster: Cluster, submitted: Callable[..., Submission]) -> None:
    submitted()

    found = submitted()

    assert not found.jobs and len(found.queued) == 8 and not found.done
    assert len(list(cluster.spool.glob("*.sh"))) == 6


def test_only_what_is_missing_is_submitted_after_what_is_queued(
    cluster: Cluster, submitted: Callable[..., Submission]
) -> None:
    submitted()
    for name in cluster.queue[3:]:  # canceled
        (cluster.spool / "queue" / name).unlink()

    found = submitted()

    assert names(found) == [["temporal", "sample"], ["sample", "score"], ["score"]]
    assert [stage.name for stage in found.queued] == ["data", "clip", "spatial"]
    assert "--dependency=afterany:101:103" in cluster.options(107)
    assert "--dependency=afterany:107:101" in cluster.options(108)


def test_a_failed_stage_stops_only_what_needs_it_and_is_submitted_again(
    cluster: Cluster, submitted: Callable[..., Submission], tmp_path: Path
) -> None:
    submitted()
    codes = cluster.run(STUB_FAIL="temporal")

    # temporal fails, its clips and their score do not run; those of the spatial decoder do
    assert [name for name, code in codes.items() if code] == ["104_0", "105_0", "106_0"]
    assert set(codes.values()) == {0, 1}
    log = (tmp_path / "out" / "slurm" / "105_0.log").read_text()
    assert "not run: it needs temporal-" in log and "which has not finished" in log

    found = submitted()
    assert names(found) == [["temporal"], ["sample"], ["score"]] and len(found.done) == 5
    assert set(cluster.run().values()) == {0}
    assert len(submitted().done) == 8


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_job_resumes_its_stage_when_it_is_started_again(
    how: signal.Signals,
    cluster: Cluster,
    submitted: Callable[..., Submission],
    trained: Callable[[Path], dict[str, Any]],
    finished_study: Path,
    tmp_path: Path,
) -> None:
    submitted()
    os.mkfifo(tmp_path / "pipe")
    for name in ("101_0", "102_0"):
        assert cluster.start(name).wait(60) == 0
    task = cluster.start("103_0", STUB_BLOCK="spatial", STUB_PIPE=str(tmp_path / "pipe"))
    with (tmp_path / "pipe").open() as pipe:
        assert pipe.readline()
    task.send_signal(how)

    assert task.wait(60) == (-9 if how == signal.SIGKILL else 128 + how)
    asked = cluster.spool / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 103_0\n" if how == signal.SIGUSR1 else "")
    assert cluster.start("103_0", SLURM_RESTART_COUNT="1").wait(60) == 0
    assert len(trained(tmp_path / "out")) == 3
    assert trained(tmp_path / "out").items() <= trained(finished_study).items(), "no step was lost or done twice"
    assert "attempt 1" in (tmp_path / "out" / "slurm" / "103_0.log").read_text()


def test_without_slurm_nothing_is_submitted(
    submitted: Callable[..., Submission], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError, match="executor: `slurm` needs the command `squeue`, which this machine does not"):
        submitted()


def test_a_rejected_job_is_reported_with_slurms_reason(cluster: Cluster, submitted: Callable[..., Submission]) -> None:
    (cluster.spool / "closed").touch()
    with pytest.raises(UserError, match="`sbatch` failed: sbatch: error: .* Invalid partition name specified"):
        submitted()

    (cluster.spool / "closed").unlink()
    assert len(submitted().jobs) == 6


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--array=0-3", "sbatch: `--array` is set by the submission itself"),
        ("-t 3", "sbatch: `-t 3` must be a long option"),
    ],
)
def test_options_of_the_submission_itself_are_rejected(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Slurm(options=(option,))


def test_the_command_submits_reports_and_checks_its_options(
    cluster: Cluster, write_study: Write, stub_command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "STAGE_COMMAND", stub_command)
    file, out = str(write_study()), str(tmp_path / "out")
    command = ["ablate", file, "seeds=[0]", "--out", out]

    slurm = [*command, "--executor", "slurm", "--partition", "gpu", "--sbatch=--qos=high"]
    first = CliRunner().invoke(app, slurm)
    assert first.exit_code == 0, first.output
    assert "job 104: temporal, sample" in first.output and "8 stages submitted, 0 queued before, 0 done" in first.output
    assert {"--partition=gpu", "--qos=high"} <= set(cluster.options(101))
    cluster.run()
    assert "report: " in CliRunner().invoke(app, slurm).output
    assert (tmp_path / "out" / "report.html").exists()

    assert "`slurm` is needed for a partition" in str(CliRunner().invoke(app, [*command, "--account", "a"]).exception)
    half = CliRunner().invoke(app, [*command, "--executor", "slurm", "--gpus", "0.5"])
    assert "`slurm` takes no address, and whole GPUs only" in str(half.exception)
