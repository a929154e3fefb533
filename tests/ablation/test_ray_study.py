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

from mav_lightning.ablation.plan import read_plan
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import run_study
from mav_lightning.runs.on_ray import OnRay

Write = Callable[..., Path]
DRIVER = """
import sys
from pathlib import Path
from mav_lightning.ablation.run import run_study
from mav_lightning.runs.on_ray import OnRay
address, study, out, *command = sys.argv[1:]
run_study(study, Path(out), [], lambda study: OnRay(1, address=address, command=command))
"""


def scores(out: Path) -> dict[tuple[str, int], Any]:
    return {(one.trial.variant, one.trial.seed): one.scores for one in read_results(out, read_plan(out)).trials}


def test_a_study_under_ray_has_the_numbers_of_the_same_study_here(
    write_study: Write, stub_command: tuple[str, ...], finished_study: Path, tmp_path: Path
) -> None:
    try:
        run = run_study(write_study(), tmp_path / "out", executor=lambda study: OnRay(1, command=stub_command))
    finally:
        import_module("ray").shutdown()  # imported here at the latest: OnRay sets what Ray reads at its import

    assert run.outcome.complete and len(run.outcome.ran) == 15
    assert scores(tmp_path / "out") == scores(finished_study)


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
    address: str, write_study: Write, stub_command: tuple[str, ...], finished_study: Path, tmp_path: Path
) -> None:
    draw, kills, folders = random.Random(1), Counter[str](), [tmp_path / "out0"]
    command = [sys.executable, "-c", DRIVER, address, str(write_study())]
    while kills.total() < 20:
        if len(list(folders[-1].glob("stages/*/done.json"))) == 15:  # begin anew what a kill can still hit
            folders.append(tmp_path / f"out{len(folders)}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        driver = subprocess.Popen([*command, str(folders[-1]), *stub_command], **quiet)
        while driver.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(draw.uniform(0.0, 3.0))
            victim = draw.choice(["driver", "worker", "stage"])
            kills[victim] += kill_one(victim, driver, folders[-1])

    assert min(kills.values()) >= 3, kills
    for folder in folders:
        last = subprocess.run([*command, str(folder), *stub_command], capture_output=True, text=True)
        assert last.returncode == 0, last.stderr
        assert scores(folder) == scores(finished_study)
        lines = [line.split() for line in (folder / "trace.txt").read_text().splitlines()]
        ends = Counter(name for word, name in lines if word == "end")
        assert not any(word == "overlap" for word, _ in lines)
        assert len(ends) == 15 and max(ends.values()) <= 2, "an end is traced just before done.json is written"
        assert sum(ends.values()) <= 15 + 3
