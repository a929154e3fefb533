"""Run the missing stages of a plan in dependency order."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal, Protocol

from mav_lightning.common.stop_signals import catchable
from mav_lightning.runs.executor import Executor, Running
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Ending", "ProgressListener", "StageOutcomes", "run_stages", "termination_raises"]

Ending = Literal["ran", "reused", "failed", "skipped"]


@dataclass
class StageOutcomes:
    """Outcomes of the stages of a plan.

    Attributes:
        ran: Stages finished by this call.
        reused: Stages that were done before, or were finished by another process meanwhile.
        failed: Stages that ended without a result.
        skipped: Stages that need a failed one.
    """

    ran: list[Stage] = field(default_factory=list)
    reused: list[Stage] = field(default_factory=list)
    failed: list[Stage] = field(default_factory=list)
    skipped: list[Stage] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every stage is done."""
        return not self.failed and not self.skipped

    def add(self, stage: Stage, ending: Ending) -> None:
        """Record the ending of a stage."""
        stages: list[Stage] = getattr(self, ending)
        stages.append(stage)


class ProgressListener(Protocol):
    """Callback interface for progress events, see `mav_lightning.runs.display`."""

    def started(self, job: Running) -> None:
        """Handle the start of a stage."""

    def settled(self, stage: Stage, ending: Ending, seconds: float | None) -> None:
        """Handle the ending of a stage; `seconds` is the duration of this attempt, None if nothing ran."""

    def tick(self, running: Sequence[Running], elsewhere: Sequence[Stage]) -> None:
        """Handle the passing of time; `elsewhere` are the stages that other processes run."""


def run_stages(
    ledger: Ledger,
    stages: Sequence[Stage],
    executor: Executor,
    listener: ProgressListener,
    poll: float = 0.2,
    grace: float = 30.0,
) -> StageOutcomes:
    """Run every stage that is not done; a failure stops only the stages that need it.

    Returns once every stage is done, failed or skipped. A stage that another process runs is waited for. On a stop
    signal (SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2) or any exception, the running stages are asked to save and then
    ended; they can be resumed.

    Args:
        ledger: Ledger that holds the stages' folders.
        stages: Stages, needed ones before those that need them.
        executor: Executor that starts them.
        listener: Receives progress events.
        poll: Seconds between two looks at the running stages.
        grace: Seconds that a stopped stage may take to save.
    """
    for stage in stages:
        ledger.folder(stage).create(stage)
    return _Scheduler(ledger, stages, executor, listener).run(poll, grace)


class _Scheduler:
    def __init__(self, ledger: Ledger, stages: Sequence[Stage], executor: Executor, listener: ProgressListener) -> None:
        self.ledger, self.executor, self.listener = ledger, executor, listener
        self.waiting, self.running = list(stages), list[Running]()
        self.outcomes = StageOutcomes()

    def run(self, poll: float, grace: float) -> StageOutcomes:
        with termination_raises() as raise_if_terminated:
            try:
                while self.waiting or self.running:
                    raise_if_terminated()
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
        return self.outcomes

    def _collect(self) -> None:
        for job in [job for job in self.running if job.ended()]:
            done = job.conclude()
            self.running.remove(job)
            if done is None:  # another process holds the stage: wait for it again
                self.waiting.insert(0, job.stage)
            else:
                self._settle(job.stage, "ran" if done else "failed", time.time() - job.started)

    def _advance(self, stage: Stage) -> bool:
        """Settle or start a waiting stage if possible; return whether another process runs it."""
        needs = set(stage.needs.values())
        if needs & {bad.id for bad in self.outcomes.failed + self.outcomes.skipped}:
            self.waiting.remove(stage)
            self._settle(stage, "skipped")
        elif self.ledger.state(stage) is State.DONE:
            self.waiting.remove(stage)
            self._settle(stage, "reused")
        elif len(self.running) < self.executor.jobs and needs <= {
            good.id for good in self.outcomes.ran + self.outcomes.reused
        }:
            return not self._start(stage) and self.ledger.state(stage) is not State.DONE
        return False

    def _start(self, stage: Stage) -> bool:
        """Start a stage; return False if another process holds it."""
        job = self.executor.start(stage, self.ledger.folder(stage))
        if job is None:
            return False
        self.running.append(job)
        self.waiting.remove(stage)
        self.listener.started(job)
        return True

    def _settle(self, stage: Stage, ending: Ending, seconds: float | None = None) -> None:
        self.outcomes.add(stage, ending)
        self.listener.settled(stage, ending, seconds)


@contextmanager
def termination_raises() -> Iterator[Callable[[], None]]:
    """Turn stop signals into SystemExit(128 + number), so that `finally` runs; Ctrl-C remains KeyboardInterrupt.

    Only the main thread may, and need, do this.

    Yields a function that raises the exit again if it was lost: Python drops an exception raised within a finalizer or
    a callback of C code, and a library such as Ray runs both at any time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    code: int | None = None

    def raise_if_terminated() -> None:
        if code is not None:
            raise SystemExit(code)

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal code
        code = 128 + number
        raise SystemExit(code)

    before = {number: signal.signal(number, terminate) for number in catchable() if number != signal.SIGINT}
    try:
        yield raise_if_terminated
    except SystemExit:
        if code is not None:  # raised within a call of Ray, it leaves that call with code 1
            raise SystemExit(code) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
