"""The same stages on Ray: the same results, lost workers tried again, impossible requests told."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import read_json
from mav_lightning.common.lease import claim
from mav_lightning.runs import on_ray
from mav_lightning.runs.executor import Local, Running
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.on_ray import OnRay
from mav_lightning.runs.scheduler import run_stages
from mav_lightning.runs.stage_folder import Stage

# Counts what runs it, says its process id where somebody listens, then does what its config says.
COMMAND = ("sh", "-c", 'echo start >> "$0/trace"; . "$0/do.sh"; echo "{\\"steps\\": 3}" > "$0/cost.json"')
BLOCK = 'echo $$ > "$0/pid"; read line < "$0/go"; echo $OMP_NUM_THREADS > "$0/result"'
SAVES = 'trap \'touch "$0/saved"; exit 143\' TERM; echo $$ > "$0/pid"; sleep 60 & wait'
STUBBORN = 'trap "" TERM; echo $$ > "$0/pid"; exec sleep 60'
# Runs the stages of a folder and says how many at once: on a cluster of its own (`cluster`: arguments of ray.init), or
# on one that is there.
DRIVER = """
import json, sys
from pathlib import Path
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.on_ray import OnRay
from mav_lightning.runs.scheduler import run_stages
from mav_lightning.runs.stage_folder import StageFolder

class Silent:
    def started(self, job): pass
    def settled(self, stage, outcome, seconds): pass
    def tick(self, running, elsewhere): pass

root, settings, *command = sys.argv[1:]
settings = json.loads(settings)
if "cluster" in settings:
    import ray
    ray.init(address="local", include_dashboard=False, log_to_driver=False, **settings["cluster"])
executor = OnRay(threads=1, command=command, **settings["executor"])
stages = [StageFolder(path).read_stage() for path in sorted(Path(root, "stages").iterdir())]
run_stages(Ledger(Path(root)), stages, executor, Silent(), poll=0.01, grace=settings.get("grace", 60))
print(executor.jobs)
"""


class Silent:
    """Tells when another process runs a stage."""

    def __init__(self) -> None:
        self.when_elsewhere = threading.Event()

    def started(self, job: Running) -> None:
        pass

    def settled(self, stage: Stage, outcome: str, seconds: float | None) -> None:
        pass

    def tick(self, running: Any, elsewhere: Any) -> None:
        if elsewhere:
            self.when_elsewhere.set()


def offspring(pid: int) -> list[int]:
    """The process and all that it started."""
    own = [int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()]
    return [pid, *(one for child in own for one in offspring(child))]


def listening() -> set[str]:
    """Local addresses, in hexadecimal, on which this process and all that it started listen."""
    own = set()
    for file in (file for pid in offspring(os.getpid()) for file in Path(f"/proc/{pid}/fd").glob("*")):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            own.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
    tables = [Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in own}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    yield OnRay(threads=1, command=COMMAND)
    ray = import_module("ray")
    ray.shutdown()


@pytest.fixture
def chain(tmp_path: Path) -> list[Stage]:
    a = Stage.of("a", {"kind": "data", "seed": 0}, {})
    b = Stage.of("b", {"kind": "train", "seed": 1}, {"data": a.id})
    return [a, b, Stage.of("c", {"kind": "train", "seed": 2}, {})]


def prepared(root: Path, stages: list[Stage], **scripts: str) -> Ledger:
    ledger = Ledger(root)
    for stage in stages:
        ledger.folder(stage).create(stage)
        (ledger.folder(stage).path / "do.sh").write_text(scripts.get(stage.name, ""))
    return ledger


def blocked(ledger: Ledger, stage: Stage) -> Path:
    """The folder of a stage that will say its process id and wait, through pipes."""
    path = ledger.folder(stage).path
    for name in ("pid", "go"):
        os.mkfifo(path / name)
    return path


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_cluster_of_this_machine_alone_listens_on_the_loopback_alone(cluster: OnRay) -> None:
    assert listening() <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert listening(), "Ray does listen"


def test_stages_run_once_in_order_with_the_studys_threads(cluster: OnRay, chain: list[Stage], tmp_path: Path) -> None:
    script = 'echo $OMP_NUM_THREADS > "$0/result"'
    ledger = prepared(tmp_path, chain, a=script, c="exit 4")
    outcome = run_stages(ledger, chain, cluster, Silent(), poll=0.01)

    assert [stage.name for stage in outcome.ran] == ["a", "b"] and [stage.name for stage in outcome.failed] == ["c"]
    assert (ledger.folder(chain[0]).path / "result").read_text() == "1\n"
    assert read_json(ledger.folder(chain[0]).done_file)["threads"] == 1
    assert read_json(ledger.folder(chain[2]).failed_file)["exit"] == 4
    assert (ledger.folder(chain[2]).path / "trace").read_text() == "start\n", "a failure is no lost worker"
    again = run_stages(ledger, chain[:2], cluster, Silent(), poll=0.01)
    assert [stage.name for stage in again.reused] == ["a", "b"]


def test_a_worker_killed_in_a_stage_costs_a_retry_and_not_a_result(
    cluster: OnRay, chain: list[Stage], tmp_path: Path
) -> None:
    ledger = prepared(tmp_path, chain, a=BLOCK)
    path = blocked(ledger, chain[0])

    def kill_the_first_and_free_the_second() -> None:
        first = int((path / "pid").read_text())
        os.kill(parent_of(first), signal.SIGKILL)
        (path / "pid").read_text()
        (path / "go").write_text("go\n")

    helper = threading.Thread(target=kill_the_first_and_free_the_second)
    helper.start()
    outcome = run_stages(ledger, chain[:2], cluster, Silent(), poll=0.01)
    helper.join()

    assert [stage.name for stage in outcome.ran] == ["a", "b"]
    assert (path / "trace").read_text() == "start\n" * 2
    assert ledger.state(chain[0]) is State.DONE


def test_a_worker_lost_more_often_than_is_tried_again_is_a_failure_that_is_told(
    cluster: OnRay, chain: list[Stage], tmp_path: Path
) -> None:
    ledger = prepared(tmp_path, chain, a="kill -9 $PPID; exec sleep 60")
    outcome = run_stages(ledger, chain, OnRay(threads=1, retries=1, command=COMMAND), Silent(), poll=0.01)

    assert [stage.name for stage in outcome.failed] == ["a"] and [stage.name for stage in outcome.skipped] == ["b"]
    assert [stage.name for stage in outcome.ran] == ["c"]
    assert read_json(ledger.folder(chain[0]).failed_file)["log"][0] == "the Ray worker was lost"
    assert (ledger.folder(chain[0]).path / "trace").read_text() == "start\n" * 2


def test_a_stage_that_another_process_holds_is_waited_for(cluster: OnRay, chain: list[Stage], tmp_path: Path) -> None:
    ledger, watch = prepared(tmp_path, chain), Silent()
    lease = claim(ledger.folder(chain[0]).path)
    assert lease

    def let_go() -> None:
        watch.when_elsewhere.wait()
        lease.release()

    helper = threading.Thread(target=let_go)
    helper.start()
    outcome = run_stages(ledger, chain[:1], cluster, watch, poll=0.01)
    helper.join()

    assert [stage.name for stage in outcome.ran] == ["a"]


def driving(root: Path, **settings: Any) -> list[str]:
    """The command line of `DRIVER`."""
    return [sys.executable, "-c", DRIVER, str(root), json.dumps(settings), *COMMAND]


@pytest.mark.parametrize(
    ("script", "grace", "saved"),
    [(SAVES, 60, True), (STUBBORN, 0.5, False)],
    ids=["one that saves", "one that will not"],
)
def test_a_terminated_driver_asks_its_stage_to_save_and_leaves_it_to_be_continued(
    cluster: OnRay, chain: list[Stage], tmp_path: Path, script: str, grace: float, saved: bool
) -> None:
    ledger = prepared(tmp_path, chain[:1], a=script)
    path = blocked(ledger, chain[0])
    address = import_module("ray").get_runtime_context().gcs_address
    driver = subprocess.Popen(driving(tmp_path, executor={"address": address}, grace=grace))
    (path / "pid").read_text()
    driver.terminate()

    assert driver.wait(60) == 128 + signal.SIGTERM
    while ledger.state(chain[0]) is State.RUNNING:  # the worker, ended by force, takes its stage along in its own time
        time.sleep(0.01)
    assert (path / "saved").exists() == saved
    assert ledger.state(chain[0]) is State.STALE
    (path / "do.sh").write_text("")
    assert run_stages(ledger, chain[:1], cluster, Silent(), poll=0.01).ran == chain[:1]
    assert (path / "trace").read_text() == "start\n" * 2


def test_a_stage_is_asked_to_save_on_a_cluster_that_was_started_in_the_background(
    chain: list[Stage], tmp_path: Path
) -> None:
    path = blocked(prepared(tmp_path, chain[:1], a=SAVES), chain[0])
    command = driving(tmp_path, cluster={"num_cpus": 1}, executor={})
    # as a shell starts what a script puts into its background: deaf to SIGINT, by which Ray cancels
    driver = subprocess.Popen(["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command])
    (path / "pid").read_text()
    driver.terminate()

    assert driver.wait(60) == 128 + signal.SIGTERM
    assert (path / "saved").exists()


def test_two_stages_share_a_gpu_where_each_asks_for_half_of_it(chain: list[Stage], tmp_path: Path) -> None:
    pipe, show = tmp_path / "pipe", 'echo $CUDA_VISIBLE_DEVICES > "$0/result"'
    os.mkfifo(pipe)  # each end waits for the other, so the two stages end only if they run at the same time
    pair = [chain[0], chain[2]]
    ledger = prepared(tmp_path, pair, a=f"echo hello > {pipe}; {show}", c=f"read line < {pipe}; {show}")
    # in a process of its own, as this one's cluster declares no GPU; Ray takes the number for granted
    command = driving(tmp_path, cluster={"num_cpus": 4, "num_gpus": 1}, executor={"gpus": 0.5})
    environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    driver = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=300)

    assert (driver.returncode, driver.stdout) == (0, "2\n"), "the GPU, and not the four CPUs, says how many run at once"
    assert [(ledger.folder(stage).path / "result").read_text() for stage in pair] == ["0\n", "0\n"]


def test_a_request_that_no_node_can_meet_is_refused_at_once(cluster: OnRay) -> None:
    with pytest.raises(UserError, match=r"needs 1 CPUs and 0.5 GPUs, and no node .* so it would wait forever"):
        OnRay(threads=1, gpus=0.5)
    with pytest.raises(UserError, match=r"needs 4096 CPUs .* lower `threads` or `gpus`"):
        OnRay(threads=4096)


def test_a_stage_that_a_worker_cannot_even_begin_is_told_and_not_tried_again(
    cluster: OnRay, chain: list[Stage], tmp_path: Path
) -> None:
    ledger = prepared(tmp_path, chain)
    folder = ledger.folder(chain[0])
    (folder.path / "stage.json").unlink()  # as where the nodes do not share the file system

    job = cluster.start(chain[0], folder)
    assert job
    while not job.ended():
        pass

    assert job.conclude() is False
    told = read_json(folder.failed_file)["log"]
    assert told[0] == "the Ray worker could not run the stage" and "stage.json" in told[-1]
    assert not (folder.path / "trace").exists()


def test_a_share_of_several_gpus_is_refused_before_ray_is_asked() -> None:
    with pytest.raises(UserError, match=r"gpus: 1.5 is not possible: more than 1 must be an integer; give 1 or 2"):
        OnRay(threads=1, gpus=1.5)


def test_a_cluster_that_requires_a_token_is_an_error_with_the_way_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError("RPC error: InvalidAuthToken: is missing")

    monkeypatch.setattr(on_ray, "optional_module", lambda *_: SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(UserError, match="address: the Ray cluster at 10.0.0.1:6379 requires its token; set RAY_AUTH"):
        OnRay(threads=1, address="10.0.0.1:6379")


def test_local_and_ray_leave_the_same_files(cluster: OnRay, chain: list[Stage], tmp_path: Path) -> None:
    script = 'head -c 8 "$0/stage.json" > "$0/result"'
    for name, executor in (("local", Local(command=COMMAND, threads=1)), ("ray", cluster)):
        ledger = prepared(tmp_path / name, chain, a=script, b=script, c=script)
        run_stages(ledger, chain, executor, Silent(), poll=0.01)
    left = [
        sorted(str(f.relative_to(tmp_path / name)) for f in (tmp_path / name).rglob("*")) for name in ("local", "ray")
    ]

    assert left[0] == left[1]
