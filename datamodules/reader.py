"""Indexed reader: the same batches with any number of workers, and a state of one integer.

Training resumes exactly: the state counts the batches yielded, and every batch is a function of its number. Bad samples
are counted, logged and replaced by the next good one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.mixture import MixtureOrder, MixtureReader
from datamodules.order import Draw, EvalOrder, TrainOrder
from datamodules.parallel import unchanged
from datamodules.sample_reader import SampleReader
from datamodules.watchdog import Watchdog
from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import SafeLog

__all__ = ["TIMEOUT", "EvalLoader", "Fetched", "Samples", "TrainLoader"]

TIMEOUT = 30.0  # seconds; a worker that decodes uses processor time, so only a stalled disk or network takes as long
log = SafeLog(__name__)
B = TypeVar("B", bound=ImageBatch | ClipBatch)
Samples: TypeAlias = SampleReader[B] | MixtureReader[B]
Order: TypeAlias = TrainOrder | MixtureOrder | EvalOrder


@dataclass
class Fetched(Generic[B]):
    """Result of a worker; a failure is sent as text, since torch would wrap an exception in its traceback.

    Attributes:
        batch: The batch. None after a failure.
        bad: ``shard:key`` → why a sample was replaced.
        failure: Why reading failed. None if it did not.
    """

    batch: B | None = None
    bad: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    def pin_memory(self) -> "Fetched[B]":
        """Return the result with the batch in page-locked memory; torch calls this if there is a GPU."""
        return Fetched(None if self.batch is None else cast(B, self.batch.pin_memory()), self.bad, self.failure)

    def deliver(self, bad: dict[str, str]) -> B:
        """Return the batch, add the bad samples to `bad` and log the new ones.

        Raises:
            UserError: Reading failed.
        """
        for name in self.bad.keys() - bad.keys():
            log.warning("bad sample %s replaced: %s", name, self.bad[name])
        bad.update(self.bad)
        if self.batch is None:
            raise UserError(self.failure or "")
        return self.batch


@dataclass(frozen=True)
class _Batch:
    """Samples of one batch; see `SampleReader.read`."""

    draws: list[Draw]
    clips: int | None


class _Steps(Dataset[Fetched[B]], Sampler[_Batch]):
    """Dataset of batches, and sampler of the upcoming ones, so that workers persist between passes.

    The order is computed in the main process only: at ten million samples it takes 80 MB.
    """

    def __init__(self, reader: Samples[B], order: Order, watchdog: Watchdog) -> None:
        self.reader, self.order, self.watchdog, self.upcoming = reader, order, watchdog, range(0)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the order in the main process."""
        return {**self.__dict__, "order": None}

    def __iter__(self) -> Iterator[_Batch]:
        return (_Batch(self.order.batch(step), self.order.samples_before(step)) for step in self.upcoming)

    def __len__(self) -> int:
        return len(self.upcoming)

    def __getitem__(self, batch: _Batch) -> Fetched[B]:
        fetched: Fetched[B] = Fetched()
        try:
            examples = []
            for epoch, number in batch.draws:
                self.watchdog.beat(number)
                examples.append(self.reader.read(number, epoch, fetched.bad, batch.clips))
        except UserError as error:
            fetched.failure = str(error)
        else:
            fetched.batch = self.reader.decoder.collate(examples)
        self.watchdog.rest()
        return fetched


class EvalLoader(Generic[B]):
    """Loader of one pass over the samples, always from the start.

    Args:
        reader: Decodes the samples.
        order: Assigns samples to batches.
        workers: Processes that read ahead. 0 reads in this process. The batches do not depend on it.
        timeout: Seconds without any movement of the workers after which reading fails; see `Watchdog`.

    Attributes:
        bad: ``shard:key`` → why a sample was replaced, for all batches so far.
    """

    def __init__(self, reader: Samples[B], order: Order, workers: int = 0, timeout: float = TIMEOUT) -> None:
        self.bad: dict[str, str] = {}
        self._watchdog = Watchdog(workers, timeout, reader.describe)
        self._steps = _Steps(reader, order, self._watchdog)
        self._loader: DataLoader[Fetched[B]] = DataLoader(
            self._steps,
            batch_size=None,
            sampler=self._steps,
            collate_fn=unchanged,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # otherwise each pass would advance the global one
            **self._watchdog.options(),
        )

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return len(self._steps.order)

    def __iter__(self) -> Iterator[B]:
        """Yield the batches of one pass.

        Raises:
            UserError: Too many consecutive samples are bad, or the workers are stuck.
        """
        return self._read(range(len(self)))

    @property
    def _iterator(self) -> Any:
        """The iterator that keeps the workers, under the name by which Lightning ends it when a training ends."""
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._loader._iterator = iterator

    def _read(self, steps: range) -> Iterator[B]:
        self._steps.upcoming = steps
        for fetched in self._watchdog.watch(self._loader):
            yield fetched.deliver(self.bad)


class TrainLoader(EvalLoader[B]):
    """Loader of endless passes over the samples; with `state_dict`, training resumes at the next batch."""

    def __init__(
        self, reader: Samples[B], order: TrainOrder | MixtureOrder, workers: int = 0, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(reader, order, workers, timeout)
        self._step = 0
        # What the meaning of a step depends on; how a batch is split over ranks is free.
        self._identity = {
            "index_sha256": reader.sha256,
            "seed": order.seed,
            "global_batch_size": order.batch_size * order.world,
        }

    def __iter__(self) -> Iterator[B]:
        """Yield the remaining batches of the current pass; Lightning iterates again for the next."""
        for batch in self._read(range(self._step, (self._step // len(self) + 1) * len(self))):
            self._step += 1  # before the yield: Lightning never runs the code after the last one
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return ``step``, the number of batches yielded, and the settings under which it identifies a sample."""
        return {"step": self._step, **self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the batch at which `state` was taken.

        Raises:
            UserError: The shards, the seed or the global batch size differ from the checkpoint's.
        """
        for name, now in self._identity.items():
            if state[name] != now:
                raise UserError(
                    f"{name}: the checkpoint was made with {state[name]}, the data now has {now}, so training cannot "
                    f"resume with the same batches; restore it, or start a new run in another folder."
                )
        self._step = state["step"]
