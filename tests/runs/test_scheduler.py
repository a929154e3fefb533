import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import read_json
from mav_lightning.common.lease import LEASE, claim
from mav_lightning.runs.executor import Local, Running
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.scheduler import StageOutcomes, run_stages
from mav_lightning.runs.stage_folder import Stage, StageFolder

# $0 is the stage's folder; every stage leaves its name in the trace and a cost, then does what its config says
COMMAND = (
    "sh",
    "-c",
    'basename "$0" | cut -d- -f1 >> "$0/../../trace"; . "$0/do.sh"; echo "{\\"steps\\": 3}" > "$0/cost.json"',
)


class Silent:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.together = 0
        self.elsewhere: set[str] = set()
        self.when_elsewhere = threading.Event()

    def started(self, job: Running) -> None:
        self.told.append(("started", job.stage.name))

    def settled(self, stage: Stage, outcome: str, seconds: float | None) -> None:
        self.told.append((outcome, stage.name))

    def tick(self, running: Sequence[Running], elsewhere: Sequence[Stage]) -> None:
        self.together = max(self.together, len(running))
        self.elsewhere |= {stage.name for stage in elsewhere}
        if elsewhere:
            self.when_elsewhere.set()


@pytest.fixture
def chain() -> list[Stage]:
    """a ← b ← c, and d by itself."""
    a = Stage.of("a", {"kind": "data", "seed": 0}, {})
    b = Stage.of("b", {"kind": "train", "seed": 1}, {"data": a.id})
    c = Stage.of("c", {"kind": "train", "seed": 2}, {"data": b.id})
    return [a, b, c, Stage.of("d", {"kind": "train", "seed": 3}, {})]


def run(
    root: Path, stages: list[Stage], watch: Silent | None = None, jobs: int = 1, stall: float = 60, **scripts: str
) -> StageOutcomes:
    for stage in stages:
        folder = Ledger(root).folder(stage)
        folder.create(stage)
        (folder.path / "do.sh").write_text(scripts.get(stage.name, ""))
    return run_stages(
        Ledger(root), stages, Local(jobs, command=COMMAND, stall=stall), watch or Silent(), poll=0.01, grace=5
    )


def trace(root: Path) -> list[str]:
    return (root / "trace").read_text().split()


def names(stages: list[Stage]) -> list[str]:
    return [stage.name for stage in stages]


def test_every_stage_runs_once_after_what_it_needs_and_never_again(tmp_path: Path, chain: list[Stage]) -> None:
    assert names(run(tmp_path, chain).ran) == ["a", "b", "c", "d"]
    assert names(run(tmp_path, chain).reused) == ["a", "b", "c", "d"]
    assert trace(tmp_path) == ["a", "b", "c", "d"]


def test_a_done_stage_says_what_it_cost_and_where_it_came_from(tmp_path: Path, chain: list[Stage]) -> None:
    run(tmp_path, chain[:1], a="echo $OMP_NUM_THREADS")

    folder = Ledger(tmp_path).folder(chain[0])
    done = read_json(folder.done_file)
    assert done["steps"] == 3
    assert {"seconds", "exit", "started", "stopped", "threads", "host", "device", "commit", "versions"} <= set(done)
    assert done["threads"] == 2
    assert folder.last_log_lines(1) == ["2"]


def test_a_failure_stops_only_what_needs_it_and_is_tried_again(tmp_path: Path, chain: list[Stage]) -> None:
    outcome = run(tmp_path, chain, b="echo out of luck; exit 3")

    assert (names(outcome.ran), names(outcome.failed), names(outcome.skipped)) == (["a", "d"], ["b"], ["c"])
    failed = read_json(Ledger(tmp_path).folder(chain[1]).failed_file)
    assert (failed["exit"], failed["log"][-1]) == (3, "out of luck")

    outcome = run(tmp_path, chain)
    assert (names(outcome.ran), names(outcome.reused)) == (["b", "c"], ["a", "d"])
    assert not Ledger(tmp_path).folder(chain[1]).failed_file.exists()


@pytest.mark.parametrize("where", ["mav_lightning.runs.job.provenance", "mav_lightning.runs.job.write_json"])
def test_a_full_disk_ends_the_driver_and_the_same_process_can_continue(
    where: str, tmp_path: Path, chain: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="the disk is full"):
        patch.setattr(where, full)
        run(tmp_path, chain)
    assert names(run(tmp_path, chain).ran) == ["a", "b", "c", "d"]


def test_a_stage_that_leaves_no_cost_has_not_finished(tmp_path: Path, chain: list[Stage]) -> None:
    assert names(run(tmp_path, chain[:1], a="exit 0").failed) == ["a"]


def test_a_killed_child_is_a_failure_told_by_its_signal(tmp_path: Path, chain: list[Stage]) -> None:
    outcome = run(tmp_path, chain[:2], a="kill -9 $$")

    assert names(outcome.skipped) == ["b"]
    assert read_json(Ledger(tmp_path).folder(chain[0]).failed_file)["exit"] == -signal.SIGKILL


def test_independent_stages_run_together_when_asked(tmp_path: Path, chain: list[Stage]) -> None:
    watch, fifo = Silent(), tmp_path / "fifo"
    os.mkfifo(fifo)  # each end waits for the other, so the two stages end only if they run at the same time
    run(tmp_path, chain, watch, jobs=2, a=f"echo hello > {fifo}", d=f"read line < {fifo}")

    assert watch.together == 2


def test_a_stage_that_another_process_runs_is_waited_for_and_reused(tmp_path: Path, chain: list[Stage]) -> None:
    ledger, watch = Ledger(tmp_path), Silent()
    folder = ledger.folder(chain[0])
    folder.create(chain[0])
    lease = claim(folder.path)
    assert lease is not None

    def finish() -> None:
        watch.when_elsewhere.wait(20)
        folder.done_file.write_text("{}")
        lease.release()

    other = threading.Thread(target=finish)
    other.start()
    outcome = run(tmp_path, chain[:2], watch)
    other.join()

    assert watch.elsewhere == {"a"}
    assert (names(outcome.reused), names(outcome.ran)) == (["a"], ["b"])
    assert trace(tmp_path) == ["b"]


HANG_ONCE = 'if [ ! -e "$0/hung" ]; then touch "$0/hung"; sleep 50; fi'


def test_a_stage_that_makes_no_progress_is_ended_and_started_again(tmp_path: Path, chain: list[Stage]) -> None:
    outcome = run(tmp_path, chain[:1], stall=0.5, a=HANG_ONCE)
    assert names(outcome.ran) == ["a"] and trace(tmp_path) == ["a", "a"]
    log = Ledger(tmp_path).folder(chain[0]).log_file.read_text()
    assert "no progress for 0.5 s: ended, starts again" in log


def test_a_stage_that_makes_no_progress_twice_has_failed(tmp_path: Path, chain: list[Stage]) -> None:
    outcome = run(tmp_path, chain[:1], stall=0.5, a="sleep 50")
    assert names(outcome.failed) == ["a"] and trace(tmp_path) == ["a", "a"]
    failure = Ledger(tmp_path).folder(chain[0]).read_failure()
    assert failure is not None and failure.log[-1] == "--- no progress for 0.5 s: ended ---"


def test_the_lease_shows_the_life_of_the_stage_and_not_of_its_driver(tmp_path: Path, chain: list[Stage]) -> None:
    folder = Ledger(tmp_path).folder(chain[0])
    folder.create(chain[0])
    (folder.path / "do.sh").write_text("sleep 50")
    job = Local(command=COMMAND).start(chain[0], folder)
    assert job is not None
    assert not job.ended()  # sees the folder for the first time
    os.utime(folder.path / LEASE, (1, 1))
    job._watch._looked = 0.0
    job.ended()
    assert (folder.path / LEASE).stat().st_mtime == 1
    folder.write_progress(3, 10)
    job._watch._looked = 0.0
    job.ended()
    assert (folder.path / LEASE).stat().st_mtime > 1
    job.stop()
    job.abandon(5)


# one stage, whose process says hello through a pipe that it holds open while it lives, then waits for ever
CHILD = """
import signal, sys
from pathlib import Path
root = Path(sys.argv[1]).parents[1]
def save(*_):
    (root / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pipe = open(root / "pipe", "w")
print("hello", file=pipe, flush=True)
signal.pause()
"""
DRIVER = """
import sys
from pathlib import Path
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.executor import Local
from mav_lightning.runs.scheduler import run_stages
from mav_lightning.runs.stage_folder import Stage

class Silent:
    def started(self, job): pass
    def settled(self, stage, outcome, seconds): pass
    def tick(self, running, elsewhere): pass

root, *command = sys.argv[1:]
stages = [Stage.of("a", {"kind": "data", "seed": 0}, {})]
run_stages(Ledger(Path(root)), stages, Local(command=command), Silent(), grace=5)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), sys.executable, "-c", CHILD])
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
def test_a_killed_driver_takes_its_child_along_and_leaves_the_stage_to_be_continued(
    tmp_path: Path, chain: list[Stage], driver: subprocess.Popen[bytes]
) -> None:
    with (tmp_path / "pipe").open() as pipe:
        pipe.readline()
        assert Ledger(tmp_path).state(chain[0]) is State.RUNNING
        driver.kill()
        driver.wait()
        assert pipe.read() == ""  # the child has ended

    assert not (tmp_path / "saved").exists()
    assert names(run(tmp_path, chain[:1]).ran) == ["a"]


def test_a_terminated_driver_lets_its_child_save_and_exits_with_143(
    tmp_path: Path, chain: list[Stage], driver: subprocess.Popen[bytes]
) -> None:
    with (tmp_path / "pipe").open() as pipe:
        pipe.readline()
        driver.terminate()
        assert driver.wait(20) == 128 + signal.SIGTERM
        assert pipe.read() == ""

    assert (tmp_path / "saved").exists()
    assert Ledger(tmp_path).state(chain[0]) is State.STALE


def within_a_call_of_ray() -> None:
    """SIGTERM arrives where Ray hands the exit on with a code of its own."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except SystemExit:
        raise SystemExit(1) from None


def within_a_finalizer() -> None:
    """SIGTERM arrives where Python drops the exit."""

    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    Dropped()


class Interrupted:
    """A stage that a driver looks at as SIGTERM arrives."""

    def __init__(self, stage: Stage, folder: StageFolder, arrives: Callable[[], None]) -> None:
        self.stage, self.folder, self.started, self.asked = stage, folder, time.time(), list[str]()
        self.arrives = arrives

    def ended(self) -> bool:
        assert not self.asked, "the driver goes on"
        self.asked.append("look")
        self.arrives()
        return False

    def conclude(self) -> bool | None:
        raise AssertionError("it has not ended")

    def stop(self) -> None:
        self.asked.append("stop")

    def abandon(self, grace: float) -> None:
        self.asked.append("abandon")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("arrives", [within_a_call_of_ray, within_a_finalizer])
def test_a_driver_terminated_where_the_exit_is_changed_or_lost_exits_with_143_all_the_same(
    tmp_path: Path, chain: list[Stage], arrives: Callable[[], None]
) -> None:
    class Once:
        jobs = 1

        def start(self, stage: Stage, folder: StageFolder) -> Running:
            started.append(Interrupted(stage, folder, arrives))
            return started[-1]

    started = list[Interrupted]()

    with pytest.raises(SystemExit) as left:
        run_stages(Ledger(tmp_path), chain[:1], Once(), Silent(), poll=0.01)

    assert left.value.code == 128 + signal.SIGTERM
    assert [job.asked for job in started] == [["look", "stop", "abandon"]]
