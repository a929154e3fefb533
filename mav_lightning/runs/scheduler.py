"""Runs the missing stages of a plan in dependency order."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from mav_lightning.runs.executor import Executor, Running
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.stage_folder import Stage

__all__ = ["ProgressListener", "StageOutcomes", "run_stages"]


@dataclass
class StageOutcomes:
    """What became of a plan.

    Attributes:
        ran: Done in this call.
        reused: Were done already, or by somebody else meanwhile.
        failed: Ended without a result.
        skipped: Need a stage that failed.
    """

    ran: list[Stage] = field(default_factory=list)
    reused: list[Stage] = field(default_factory=list)
    failed: list[Stage] = field(default_factory=list)
    skipped: list[Stage] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return not self.failed and not self.skipped


class ProgressListener(Protocol):
    """Is told what happens; see `mav_lightning.runs.display`."""

    def started(self, job: Running) -> None:
        """A stage has begun."""

    def settled(self, stage: Stage, outcome: str, seconds: float | None) -> None:
        """A stage is ``ran``, ``reused``, ``failed`` or ``skipped``; `seconds` of this attempt, None without one."""

    def tick(self, running: Sequence[Running], elsewhere: Sequence[Stage]) -> None:
        """Time has passed; `elsewhere` are stages that another process runs."""


def run_stages(
    ledger: Ledger,
    stages: Sequence[Stage],
    executor: Executor,
    listener: ProgressListener,
    poll: float = 0.2,
    grace: float = 30.0,
) -> StageOutcomes:
    """Runs every stage that is not done; a failure stops only what needs it.

    Returns when each stage is done, failed or skipped. A stage that another process runs is waited for. On SIGTERM,
    SIGINT or any exception the running stages are asked to save, then ended, and stay to be continued.

    Args:
        ledger: Where the folders are.
        stages: Needed stages before those that need them.
        executor: Starts them.
        listener: Receives progress events.
        poll: Seconds between looks.
        grace: Seconds a stopped stage may take to save.
    """
    for stage in stages:
        ledger.folder(stage).create(stage)
    return _Schedule(ledger, stages, executor, listener).run(poll, grace)


class _Schedule:
    def __init__(self, ledger: Ledger, stages: Sequence[Stage], executor: Executor, listener: ProgressListener) -> None:
        self.ledger, self.executor, self.listener = ledger, executor, listener
        self.waiting, self.running = list(stages), list[Running]()
        self.outcome = StageOutcomes()

    def run(self, poll: float, grace: float) -> StageOutcomes:
        with _termination_raises() as heed:
            try:
                while self.waiting or self.running:
                    heed()
                    self._collect()
                    elsewhere = [stage for stage in list(self.waiting) if self._advance(stage)]
                    self.listener.tick(self.running, elsewhere)
                    if self.running or elsewhere:
                        time.sleep(poll)
            finally:
                for job in self.running:
                    job.stop()
                for job in self.running:
                    job.abandon(grace)
        return self.outcome

    def _collect(self) -> None:
        for job in [job for job in self.running if job.ended()]:
            done = job.conclude()
            self.running.remove(job)
            if done is None:
                self.waiting.insert(0, job.stage)
                continue
            (self.outcome.ran if done else self.outcome.failed).append(job.stage)
            self.listener.settled(job.stage, "ran" if done else "failed", time.time() - job.started)

    def _advance(self, stage: Stage) -> bool:
        """Settles or starts a waiting stage if that can be done; returns whether another process runs it."""
        needs = set(stage.needs.values())
        if needs & {bad.id for bad in self.outcome.failed + self.outcome.skipped}:
            self._settle(stage, self.outcome.skipped, "skipped")
        elif self.ledger.state(stage) is State.DONE:
            self._settle(stage, self.outcome.reused, "reused")
        elif len(self.running) < self.executor.jobs and needs <= {
            good.id for good in self.outcome.ran + self.outcome.reused
        }:
            return not self._start(stage) and self.ledger.state(stage) is not State.DONE
        return False

    def _start(self, stage: Stage) -> bool:
        """Starts a stage; returns whether nobody else holds it."""
        job = self.executor.start(stage, self.ledger.folder(stage))
        if job is None:
            return False
        self.running.append(job)
        self.waiting.remove(stage)
        self.listener.started(job)
        return True

    def _settle(self, stage: Stage, where: list[Stage], word: str) -> None:
        self.waiting.remove(stage)
        where.append(stage)
        self.listener.settled(stage, word, None)


@contextmanager
def _termination_raises() -> Iterator[Callable[[], None]]:
    """Turns SIGTERM into SystemExit(143), so that `finally` runs; only the main thread may, and need, do this.

    Gives a function that raises it again where it was lost: Python drops what is raised within a finalizer or a
    callback of C code, and a library such as Ray runs both at any time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    code: int | None = None

    def heed() -> None:
        if code is not None:
            raise SystemExit(code)

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal code
        code = 128 + number
        raise SystemExit(code)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield heed
    except SystemExit:
        if code is not None:  # raised within a call of Ray, it comes out of there with the code 1
            raise SystemExit(code) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
