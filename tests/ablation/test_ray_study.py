"""One small study under both executors: the same numbers, whatever is killed on the way."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.runs.on_ray import OnRay

Write = Callable[..., Path]
Trained = Callable[[Path], dict[str, tuple[int, str]]]
STEPS = 6  # of every stub training
JOBS = 2  # stages that Ray is given at once
DRIVER = f"""
import sys
from pathlib import Path
from mav_lightning.ablation.run import run_study
from mav_lightning.runs.on_ray import OnRay
address, study, out, *command = sys.argv[1:]
run_study(study, Path(out), [], lambda study: OnRay(1, jobs={JOBS}, address=address, command=command))
"""


def scores(out: Path) -> dict[tuple[str, int], Any]:
    return {(one.trial.variant, one.trial.seed): one.scores for one in read_results(out, read_plan(out)).trials}


def assert_trained_once(found: dict[str, tuple[int, str]], undisturbed: dict[str, tuple[int, str]]) -> None:
    """Each of the seven trainings ended after the steps and with the state of one that nothing happened to."""
    assert found == undisturbed
    assert [steps for steps, _ in found.values()] == [STEPS] * 7


def test_a_study_under_ray_has_the_numbers_of_the_same_study_here(
    write_study: Write, stub_command: tuple[str, ...], finished_study: Path, trained: Trained, tmp_path: Path
) -> None:
    try:
        run = run_study(write_study(), tmp_path / "out", executor=lambda study: OnRay(1, command=stub_command))
    finally:
        import_module("ray").shutdown()  # imported here at the latest: OnRay sets what Ray reads at its import

    assert run.outcome.complete and len(run.outcome.ran) == 15
    assert scores(tmp_path / "out") == scores(finished_study)
    assert_trained_once(trained(tmp_path / "out"), trained(finished_study))


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster of this machine, which outlives its drivers."""
    OnRay(1)
    ray = import_module("ray")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def running(out: Path) -> list[int]:
    """Process ids of the stages that run in a study's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(out / "stages") in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill_one(victim: str, driver: subprocess.Popen[bytes], out: Path) -> bool:
    """Whether there was something left to kill, once a stage runs."""
    while not (stages := running(out)) and driver.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(0.02)
    if driver.poll() is not None:
        return False
    try:
        stage = stages[0]
        os.kill({"driver": driver.pid, "worker": parent_of(stage), "stage": stage}[victim], signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return False
    return True


@pytest.mark.slow
def test_twenty_kills_of_drivers_workers_and_stages_on_ray_change_no_number(
    address: str,
    write_study: Write,
    stub_command: tuple[str, ...],
    finished_study: Path,
    trained: Trained,
    lost_ends: Callable[[Path], int],
    tmp_path: Path,
) -> None:
    draw, kills, lost = random.Random(1), Counter[str](), {tmp_path / "out0": 0}
    command = [sys.executable, "-c", DRIVER, address, str(write_study())]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    while kills.total() < 20:
        folder = list(lost)[-1]
        if len(list(folder.glob("stages/*/done.json"))) == 15:  # begin anew what a kill can still hit
            folder = tmp_path / f"out{len(lost)}"
        driver, met = subprocess.Popen([*command, str(folder), *stub_command], **quiet), Counter[str]()
        while driver.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(draw.uniform(0.0, 3.0))
            victim = draw.choice(["driver", "worker", "stage"])
            met[victim] += kill_one(victim, driver, folder)
        kills += met
        # A stage traces its end before its worker writes done.json: killed between the two, it ends once more later. A
        # kill of a worker or a stage can do this to one, and of the driver, whose workers end with it, to all it runs.
        before, lost[folder] = lost.get(folder, 0), lost_ends(folder)
        assert lost[folder] - before <= met["worker"] + met["stage"] + JOBS * met["driver"]

    assert min(kills[victim] for victim in ("driver", "worker", "stage")) >= 3, kills
    for folder in lost:
        last = subprocess.run([*command, str(folder), *stub_command], capture_output=True, text=True)
        assert last.returncode == 0, last.stderr
        assert scores(folder) == scores(finished_study)
        assert_trained_once(trained(folder), trained(finished_study))
        lines = [line.split() for line in (folder / "trace.txt").read_text().splitlines()]
        ends = [name for word, name in lines if word == "end"]
        assert not any(word == "overlap" for word, _ in lines)
        assert len(set(ends)) == 15 and len(ends) == 15 + lost[folder]
