"""``kill -9`` of anything, then the same command: only missing work runs, and the results are the undisturbed ones."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import StudyRun, run_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.runs.executor import Local

Write = Callable[..., Path]
Trained = Callable[[Path], dict[str, tuple[int, str]]]
STEPS = 6  # of every stub training
DRIVER = """
import sys
from pathlib import Path
from mav_lightning.ablation.run import run_study
from mav_lightning.runs.executor import Local
run_study(sys.argv[1], Path(sys.argv[2]), ["seeds=[0]"], lambda study: Local(command=sys.argv[3:]))
"""


@pytest.fixture
def blocked(
    write_study: Write, stub_command: tuple[str, ...], tmp_path: Path, stage: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A driver whose stage `stage` hangs halfway, and the process id of that stage."""
    os.mkfifo(tmp_path / "pipe")
    environment = os.environ | {"STUB_BLOCK": stage, "STUB_PIPE": str(tmp_path / "pipe")}
    command = [sys.executable, "-c", DRIVER, str(write_study()), str(tmp_path / "out"), *stub_command]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    with (tmp_path / "pipe").open() as pipe:
        yield driver, int(pipe.readline())
        driver.kill()
        driver.wait()


def finish(write_study: Write, stub_command: tuple[str, ...], out: Path) -> StudyRun:
    return run_study(write_study(), out, ["seeds=[0]"], lambda study: Local(command=stub_command))


def results(out: Path) -> dict[tuple[str, int], Any]:
    found = read_results(out, read_plan(out)).trials
    return {(result.trial.variant, result.trial.seed): result.scores for result in found}


def trace(out: Path) -> Counter[tuple[str, str]]:
    words = [line.split() for line in (out / "trace.txt").read_text().splitlines()]
    return Counter((word, name.rpartition("-")[0]) for word, name in words)


@pytest.mark.parametrize(
    ("victim", "stage"),
    [
        ("driver", "data"),
        pytest.param("driver", "temporal", marks=pytest.mark.slow),
        ("child", "spatial"),
        ("both", "temporal"),
    ],
)
def test_only_missing_work_runs_after_a_kill(
    victim: str,
    stage: str,
    blocked: tuple[subprocess.Popen[bytes], int],
    write_study: Write,
    stub_command: tuple[str, ...],
    tmp_path: Path,
    finished_study: Path,
    trained: Trained,
) -> None:
    driver, child = blocked
    if victim in ("child", "both"):
        os.kill(child, signal.SIGKILL)
    if victim in ("driver", "both"):
        driver.kill()
    driver.wait()

    run = finish(write_study, stub_command, tmp_path / "out")

    assert run.outcome.complete
    traced = trace(tmp_path / "out")
    assert not any(word == "overlap" for word, _ in traced)
    assert traced["start", stage] == 2
    expected = {"data": 1, "clip": 1, "spatial": 1, "temporal": 1, "sample": 2, "score": 2}
    assert {name: traced["end", name] for name in expected} == expected
    assert sum(count for (word, _), count in traced.items() if word == "start") == sum(expected.values()) + 1
    assert results(tmp_path / "out") == {
        trial: found for trial, found in results(finished_study).items() if trial[1] == 0
    }
    assert_trained_once(trained(tmp_path / "out"), trained(finished_study), count=4)


def assert_trained_once(found: dict[str, tuple[int, str]], undisturbed: dict[str, tuple[int, str]], count: int) -> None:
    """So many trainings ended, each after the steps and with the state of one that nothing happened to."""
    assert len(found) == count and found.items() <= undisturbed.items()
    assert {steps for steps, _ in found.values()} == {STEPS}


@pytest.mark.parametrize("stage", ["temporal"])
def test_two_drivers_of_one_study_share_the_work_and_do_nothing_twice(
    blocked: tuple[subprocess.Popen[bytes], int],
    write_study: Write,
    stub_command: tuple[str, ...],
    tmp_path: Path,
    finished_study: Path,
    trained: Trained,
) -> None:
    driver, child = blocked
    command = [sys.executable, "-c", DRIVER, str(write_study()), str(tmp_path / "out"), *stub_command]
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    said = ""
    for line in second.stdout:
        said += line
        if "waits for process" in line:
            break
    os.kill(child, signal.SIGUSR1)  # lets the blocked stage go on
    second.stdout.read()

    assert (second.wait(), driver.wait()) == (0, 0)
    assert "temporal" in said
    assert set(trace(tmp_path / "out").values()) == {1, 2}
    assert trace(tmp_path / "out")["start", "temporal"] == 1
    assert not any(word == "overlap" for word, _ in trace(tmp_path / "out"))
    assert_trained_once(trained(tmp_path / "out"), trained(finished_study), count=4)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def interrupt(driver: subprocess.Popen[bytes], draw: random.Random) -> str | None:
    """Kills the driver, its stage or both after a while, and says whom; None where nothing was left to kill."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(draw.uniform(0.2, 3.0))
        return None
    victim = draw.choice(["driver", "stage", "both"])
    stages = children_of(driver.pid)
    if victim != "driver":
        for pid in stages:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if victim == "stage":
        driver.wait()
    driver.kill()
    driver.wait()
    return victim if stages or victim == "driver" else None


@pytest.mark.slow
def test_twenty_kills_at_random_times_change_no_number_and_train_nothing_twice(
    write_study: Write,
    stub_command: tuple[str, ...],
    tmp_path: Path,
    finished_study: Path,
    trained: Trained,
    lost_ends: Callable[[Path], int],
) -> None:
    draw, out, kills, lost = random.Random(0), tmp_path / "out", Counter[str](), 0
    driver_code = DRIVER.replace('["seeds=[0]"]', "[]")
    command = [sys.executable, "-c", driver_code, str(write_study()), str(out), *stub_command]
    while kills.total() < 20:
        if len(list(out.glob("stages/*/done.json"))) == 15:  # begin anew what a kill can still hit
            shutil.rmtree(out)
            lost = 0
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        victim = interrupt(driver, draw)
        kills.update([victim] if victim else [])
        # A stage traces its end before its driver writes done.json: killed between the two, it ends once more in the
        # next run. One stage runs at a time, so a kill can do this to one, and what is not killed to none.
        before, lost = lost, lost_ends(out)
        assert lost - before <= (victim is not None)

    run = run_study(write_study(), out, executor=lambda study: Local(command=stub_command))

    assert run.outcome.complete and min(kills[victim] for victim in ("driver", "stage", "both")) >= 3
    assert results(out) == results(finished_study)
    assert_trained_once(trained(out), trained(finished_study), count=7)
    assert not any(word == "overlap" for word, _ in trace(out))
    ends = [line for line in (out / "trace.txt").read_text().splitlines() if line.startswith("end")]
    assert len(set(ends)) == 15 and len(ends) == 15 + lost
