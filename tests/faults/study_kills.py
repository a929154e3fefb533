"""``kill -9`` at random instants of a study, again and again, and comparison with an undisturbed one.

Each way of running the study is interrupted in its own way:

    python tests/faults/study_kills.py local --kills 30      # driver, stage, both
    python tests/faults/study_kills.py ray --kills 30        # driver, Ray's worker, stage
    python tests/faults/study_kills.py drivers --kills 30    # two drivers on one folder: one, a stage, both drivers
    python tests/faults/study_kills.py machines --kills 30   # two, each with its own network, host name and processes

A killed driver or machine is started again. A stage that is done must never start again, no stage may run twice at
once, and steps, weights, clips and scores must be those of the undisturbed study to the bit. Prints one JSON line.
Machines are simulated by namespaces of the kernel, for which the script must run as root.

The stages are stand-ins, a second long. With ``--real`` they are those of `ablation/quick.yaml`, which write data,
train, sample and score, far too short to learn anything; then the worker of a loader is killed, too.
"""

import argparse
import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "ablation"))

from stub_study import STUB_COMMAND, write_study  # noqa: E402

from mav_lightning.ablation.run import run_study  # noqa: E402
from mav_lightning.runs.executor import Executor, Local  # noqa: E402
from mav_lightning.runs.on_ray import OnRay  # noqa: E402

TRAININGS = ("clip", "spatial", "temporal")
OVERRIDES = [
    "seeds=[0]",
    *(f"data.task.{key}" for key in ("images=64", "clips=16", "val_images=12", "val_clips=8", "processes=1")),
    "prior.task.batches=1",
    *(f"{stage}.fit.{key}" for stage in TRAININGS for key in ("steps=12", "checkpoint_every=2")),
    *(f"{stage}.data.{key}" for stage in TRAININGS for key in ("batch_size=4", "workers=1")),
    "temporal.module.preview=null",
    *(f"sample.task.{key}" for key in ("per_pair=1", "fps=[8,16]", "sampling.steps=2")),
]
PROTOCOL = TESTS.parent / "conf/protocol/shapes-tiny.yaml"
REAL_CLIPS = "clips: 288", "clips: 48"
RESULTS = ("shards/**/*", "weights.*", "clips/**/*", "results.json")
NEW_NAMESPACES = 0x20000 | 0x4000000 | 0x20000000 | 0x40000000  # mounts, host name, processes, network
PRIVATE = 0x4000 | 0x40000  # mounts that nobody else sees
VICTIMS = {
    "local": ("driver", "stage", "driver and stage"),
    "ray": ("driver", "Ray worker", "stage"),
    "drivers": ("driver", "stage", "both drivers"),
    "machines": ("machine", "stage", "both machines"),
}

FORK = multiprocessing.get_context("fork")  # a driver whose modules are imported already starts in no time
Driver = multiprocessing.process.BaseProcess


class Study:
    """A study in a folder, how it is run, and what must never change in it."""

    def __init__(self, out: Path, way: str, real: bool, address: str | None = None) -> None:
        self.out, self.way, self.real, self.address = out, way, real, address
        self._done: dict[str, tuple[bytes, bytes]] = {}

    def start(self, number: int = 0) -> Driver:
        """Start a driver, by its number if there are two."""
        driver = FORK.Process(target=self._drive, args=(number,))
        driver.start()
        return driver

    def log(self, number: int = 0) -> Path:
        return self.out.with_name(f"{self.out.name}-{number}.log")

    def last_words(self, number: int) -> str:
        return "; ".join(self.log(number).read_text().splitlines()[-3:])

    def _drive(self, number: int) -> None:
        log = os.open(self.log(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if self.way == "machines":
            enter_machine(number)
        if self.real:
            os.execv(sys.executable, self._real_command())
        address = self.address

        def executor(_: Any) -> Executor:
            return OnRay(1, jobs=1, address=address, command=STUB_COMMAND) if address else Local(1, 1, STUB_COMMAND)

        run_study(str(self.out.with_name("quick.yaml")), self.out, executor=executor)

    def _real_command(self) -> list[str]:
        command = [sys.executable, "-m", "mav_lightning", "ablate", "ablation/quick.yaml", *OVERRIDES]
        command += [f"score.protocol={self.out.with_name('protocol.yaml')}", "--out", str(self.out)]
        return command + (["--executor", "ray", "--address", self.address] if self.address else [])

    def finished(self) -> bool:
        stages = list(self.out.glob("stages/*/stage.json"))
        return bool(stages) and all((stage.parent / "done.json").exists() for stage in stages)

    def faults(self) -> list[str]:
        """Return which finished stages have started or ended again, and remember the new ones."""
        found = []
        for record in sorted(self.out.glob("stages/*/done.json")):
            now = record.read_bytes(), (record.parent / "log.txt").read_bytes()
            if self._done.setdefault(record.parent.name, now) != now:
                found.append(f"{record.parent.name} was done and ran again")
        gone = [name for name in self._done if not (self.out / "stages" / name / "done.json").exists()]
        return found + [f"{name} was done and is not" for name in gone]

    def overlaps(self) -> list[str]:
        trace = self.out / "trace.txt"  # of stand-ins
        return [line for line in trace.read_text().splitlines() if "overlap" in line] if trace.exists() else []

    def starts(self) -> dict[str, int]:
        """Return how often each stage has started, in any process."""
        logs = {path.parent.name: path.read_text(errors="replace") for path in self.out.glob("stages/*/log.txt")}
        return {name: sum(line.startswith("--- 20") for line in text.splitlines()) for name, text in logs.items()}

    def results(self) -> dict[str, str]:
        """Return the sha256 of every file with a result, and the optimizer steps of every training."""
        stages = self.out / "stages"
        files = [file for pattern in RESULTS for file in stages.glob(f"*/{pattern}") if file.is_file()]
        found = {str(file.relative_to(stages)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        costs = {file.parent.name: json.loads(file.read_text()) for file in stages.glob("*/cost.json")}
        return found | {f"{name}: steps": str(cost.get("steps")) for name, cost in costs.items()}


def enter_machine(number: int) -> None:
    """Continue as the first process, with which all others end, of a machine with a network and a name of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NAMESPACES):
        raise OSError(ctypes.get_errno(), "no new namespaces; run as root")
    if machine := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(machine, 0)[1]) % 256)
    socket.sethostname(f"machine-{number}")
    assert libc.mount(b"none", b"/", None, PRIVATE, None) == 0 and libc.mount(b"proc", b"/proc", b"proc", 0, None) == 0


def stages_of(study: Study) -> list[int]:
    """Return the process ids of the stages that run, without the workers of their loaders."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(study.out / "stages") in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return [pid for pid in found if parent_of(pid) not in found]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def ended(driver: Driver) -> int:
    driver.join()
    return driver.exitcode or 0


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(victim: str, drivers: list[Driver], study: Study, draw: random.Random) -> bool:
    """Kill a victim; return whether there was one."""
    alive = [driver for driver in drivers if driver.is_alive()]
    if not alive:
        return False
    stages, driver = stages_of(study), draw.choice(alive)
    stage = draw.choice(stages) if stages else 0
    victims: dict[str, Callable[[], list[int]]] = {
        "driver": lambda: [driver.pid],
        "both drivers": lambda: [one.pid for one in alive] if len(alive) > 1 else [],
        "machine": lambda: children_of(driver.pid),
        "both machines": lambda: [pid for one in alive for pid in children_of(one.pid)] if len(alive) > 1 else [],
        "stage": lambda: [stage] if stage else [],
        "driver and stage": lambda: [driver.pid, stage] if stage else [],
        "loader worker": lambda: children_of(stage)[-1:] if stage else [],
        "Ray worker": lambda: [parent_of(stage)] if stage and parent_of(stage) > 1 else [],
    }
    try:
        found = victims[victim]()
        for pid in found:
            os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return False
    return bool(found)


def wait_for_an_instant(study: Study, drivers: list[Driver], draw: random.Random, pause: float) -> None:
    """Wait until a stage runs, except once in ten, and for a random time more, or until a driver ends."""
    anywhere = draw.random() < 0.1
    while not (anywhere or stages_of(study)) and all(driver.is_alive() for driver in drivers):
        time.sleep(0.02)
    drivers[0].join(draw.uniform(0.0, pause))


def run_to_its_end(study: Study, kills: int, draw: random.Random, pause: float) -> tuple[Counter[str], list[str]]:
    """Run a study, and kill at random instants as often as is left; return the kills by victim, and the faults."""
    count = 2 if study.way in ("drivers", "machines") else 1
    victims = (*VICTIMS[study.way], "loader worker") if study.real else VICTIMS[study.way]
    met, found, began = Counter[str](), list[str](), time.monotonic()
    drivers = [study.start(number) for number in range(count)]
    while not study.finished():
        assert time.monotonic() - began < 3600, f"a study is not finished after an hour; kills: {met}"
        wait_for_an_instant(study, drivers, draw, pause)
        if met.total() < kills and not study.finished():
            victim = draw.choice(victims)
            met[victim] += kill(victim, drivers, study, draw)
        found += study.faults()
        drivers = [study.start(n) if not one.is_alive() else one for n, one in enumerate(drivers)]
    failed = [
        f"driver {n} ended with {code}: {study.last_words(n)}" for n, one in enumerate(drivers) if (code := ended(one))
    ]
    return +met, found + study.faults() + failed


def compare(study: Study, reference: Study) -> list[str]:
    """Return what differs from the undisturbed study, after one more run, which must start nothing."""
    before = study.starts()
    code = ended(study.start())
    found = [f"the finished study ended with {code}"] if code else []
    found += (
        study.faults() + study.overlaps() + (["a finished study started a stage"] if study.starts() != before else [])
    )
    mine, theirs = study.results(), reference.results()
    return found + [f"{key} differs" for key in sorted(mine.keys() | theirs) if mine.get(key) != theirs.get(key)]


@contextlib.contextmanager
def cluster(way: str) -> Iterator[str | None]:
    """Yield the address of a Ray cluster of this machine, which outlives its drivers; None for other ways."""
    if way != "ray":
        yield None
        return
    code = "import json, os; from mav_lightning.runs.on_ray import OnRay; OnRay(1); import ray; "
    code += "settings = {key: value for key, value in os.environ.items() if key.startswith('RAY_')}; "
    code += "print(json.dumps([ray.get_runtime_context().gcs_address, settings]), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as holder:
        address, settings = json.loads(holder.stdout.readline())
        os.environ.update(settings)  # drivers look for it on the loopback, too, and with its token
        yield address
        holder.stdin.write("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("way", choices=sorted(VICTIMS))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds at most from a stage's start to a kill")
    parser.add_argument("--real", action="store_true", help="stages that really train, sample and score")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, kills, found, starts, runs = random.Random(options.seed), Counter[str](), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as name, cluster(options.way) as address:
        folder = Path(name)
        write_study(folder)
        (folder / "protocol.yaml").write_text(PROTOCOL.read_text().replace(*REAL_CLIPS))
        reference = Study(folder / "undisturbed", "local", options.real)
        assert ended(reference.start()) == 0, reference.log().read_text()
        while kills.total() < options.kills:
            runs += 1
            study = Study(folder / f"study{runs}", options.way, options.real, address)
            met, faults = run_to_its_end(study, options.kills - kills.total(), draw, options.pause)
            kills, starts = kills + met, starts + sum(study.starts().values())
            found += [f"study {runs}: {fault}" for fault in faults + compare(study, reference)]
            print(dict(kills), starts, found, file=sys.stderr, flush=True)
        counts = {"studies": runs, "stages": runs * len(reference.starts()), "starts": starts}
        counts["results"] = runs * len(reference.results())
    print(json.dumps({"way": options.way, "real": options.real, "kills": kills, **counts, "faults": found}))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
