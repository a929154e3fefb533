"""One small study under both executors: the same numbers, whatever is killed on the way."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
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
    import ray

    try:
        run = run_study(write_study(), tmp_path / "out", executor=lambda study: OnRay(1, command=stub_command))
    finally:
        ray.shutdown()

    assert run.outcome.complete and len(run.outcome.ran) == 15
    assert scores(tmp_path / "out") == scores(finished_study)


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster of this machine, which outlives its drivers."""
    import ray

    OnRay(1)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def stages_in(out: Path) -> list[int]:
    """Process ids of the stages that run in a study's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if any(word.startswith(os.fsencode(out / "stages")) for word in words):
                found.append(int(folder.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_twenty_kills_of_drivers_workers_and_stages_on_ray_change_no_number(
    address: str, write_study: Write, stub_command: tuple[str, ...], finished_study: Path, tmp_path: Path
) -> None:
    draw, out, kills = random.Random(1), tmp_path / "out", Counter[str]()
    command = [sys.executable, "-c", DRIVER, address, str(write_study()), str(out), *stub_command]
    again = 0
    while kills.total() < 20:
        if len(list(out.glob("stages/*/done.json"))) == 15:  # begin anew what a kill can still hit
            again += 1
            out = tmp_path / f"out{again}"
            command[5] = str(out)
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(draw.uniform(3.0, 12.0))
        victim = draw.choice(["driver", "worker", "stage"])
        running = stages_in(out)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if driver.poll() is None and victim == "driver":
                driver.kill()
                kills[victim] += 1
            elif running:
                os.kill(parent_of(running[0]) if victim == "worker" else running[0], signal.SIGKILL)
                kills[victim] += 1
        driver.wait()

    last = subprocess.run(command, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert min(kills.values()) >= 3, kills
    for folder in tmp_path.glob("out*"):
        assert scores(folder) == scores(finished_study)
        lines = (folder / "trace.txt").read_text().splitlines()
        assert not any(line.startswith("overlap") for line in lines)
        ends = Counter(line.split()[1] for line in lines if line.startswith("end"))
        assert len(ends) == 15 and max(ends.values()) <= 2, "an end is traced just before done.json is written"
