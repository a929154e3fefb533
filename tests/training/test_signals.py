"""Stop signals end a training with 128 + number, also where it hangs, and SLURM starts a warned job again."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mav_lightning.common.slurm_queue import requeue
from mav_lightning.common.stop_signals import STOP_SIGNALS, catchable
from mav_lightning.training import rank_watch
from mav_lightning.training.checkpoint_io import checkpoint_step, checkpoints


@pytest.mark.parametrize(("fault", "code"), [("term-in-hang", 143), ("interrupt-twice", 130)])
def test_a_training_that_hangs_ends_without_saving_and_resumes(
    fault: str, code: int, launch: Any, tmp_path: Path
) -> None:
    assert launch(tmp_path, steps=12, fault=fault, at=9) == code
    assert launch(tmp_path, steps=12) == 0


def test_a_suspended_rank_ends_the_others_with_its_name(launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=2, rank=1, suspended=True, fault="suspend-in-step", at=9) == 2
    assert checkpoint_step(checkpoints(tmp_path / "checkpoints")[0]) == 8
    assert launch(tmp_path, ranks=2, steps=23) == 0


@pytest.mark.parametrize(
    ("lost", "named"),
    [([2], "rank 2 (process 7 on node-b)"), ([0, 2], "rank 0 (process 5 on node-a)"), ([3], "rank 3 (unknown)")],
)
def test_the_message_names_the_rank_its_process_and_machine(lost: list[int], named: str) -> None:
    signs = {0: "9 process 5 on node-a", 2: "9 process 7 on node-b"}
    assert rank_watch._message(lost, signs).startswith(f"error: {named} has not answered for 120 s")


class Signs:
    """A store with the signs of life that another rank shows, look by look."""

    def __init__(self, beats: list[int]) -> None:
        self.beats = iter(beats)

    def set(self, key: str, value: str) -> None:
        pass

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [b"%d process 7 on node-b" % next(self.beats)]


@pytest.mark.parametrize(
    ("beats", "ends"),
    [([1, 1, *range(2, 8)], False), ([1] * 8, True)],
    ids=["both suspended", "one suspended"],
)
def test_time_in_which_all_ranks_are_suspended_does_not_count(
    beats: list[int], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = [0.0, 1.0, 1000.0, *(1001.0 + look for look in range(7))]  # of the clock, from look to look
    monkeypatch.setattr(rank_watch, "time", SimpleNamespace(monotonic=partial(next, iter(jumps))))
    ended: list[str] = []
    monkeypatch.setattr(rank_watch, "end_process", lambda message, code, trainer: ended.append(message))
    monkeypatch.setattr(rank_watch, "LOST", 33.0)
    watch, looks = rank_watch.RankWatch(), iter(range(8))
    watch._over = SimpleNamespace(wait=lambda seconds: next(looks, None) is None, is_set=lambda: False)  # type: ignore[assignment]
    watch._watch(Signs(beats), SimpleNamespace(world_size=2, global_rank=0))  # type: ignore[arg-type]

    assert bool(ended) == ends


def test_an_ignored_signal_stays_ignored() -> None:
    code = (
        "import signal; from mav_lightning.common.stop_signals import catchable;"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); print(signal.SIGHUP in catchable());"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); print(signal.SIGHUP in catchable())"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["True", "False"]
    assert set(catchable()) <= set(STOP_SIGNALS)


@pytest.mark.parametrize(
    ("job", "asked_for"),
    [
        ({"SLURM_JOB_ID": "71"}, "requeue 71"),
        ({"SLURM_JOB_ID": "72", "SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "3"}, "requeue 71_3"),
        ({"SLURM_JOB_ID": "71", "SLURM_JOB_NAME": "interactive"}, ""),
        ({}, ""),
    ],
)
def test_slurm_is_asked_to_start_the_job_again(
    job: dict[str, str], asked_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in job.items():
        monkeypatch.setenv(name, value)

    assert requeue() == bool(asked_for)
    assert (asked.read_text().strip() if asked.exists() else "") == asked_for


def test_a_refusal_of_slurm_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    assert not requeue()
