"""Order of samples in batches: a pure function of seed, epoch and rank, independent of the workers."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError

__all__ = ["Draw", "EvalOrder", "SampleContext", "TrainOrder", "check_train_order", "sample_rng"]


class Draw(NamedTuple):
    """One sample of a batch.

    Attributes:
        epoch: Number of the pass over its dataset, which random crops depend on.
        number: Number of the sample.
    """

    epoch: int
    number: int


@dataclass(frozen=True)
class SampleContext:
    """Randomness and training progress with which a sample is decoded.

    Attributes:
        rng: Random generator of the sample.
        clips: Samples trained on before this one's batch, over all ranks. None outside training.
    """

    rng: np.random.Generator
    clips: int | None = None


def sample_rng(seed: int, epoch: int, key: str) -> np.random.Generator:
    """Return the random generator of a sample, so that its crop is the same in any batch, rank and worker."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))


@lru_cache(maxsize=2)
def _shuffled(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(samples)


@dataclass(frozen=True)
class TrainOrder:
    """Endless passes over shuffled samples in full batches; a remainder that does not fill a step is dropped.

    Rank r of R takes every R-th batch, so R ranks with batches of B/R see in each step what one rank sees with B.

    Attributes:
        samples: Number of samples.
        batch_size: Samples per batch on each rank.
        seed: Seed of the shuffle, at least 0.
        rank: Rank of this process.
        world: Number of processes.
    """

    samples: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: A value is out of range, or the samples do not fill one step.
        """
        check_train_order(self.samples, self.batch_size, self.seed, self.world)

    def __len__(self) -> int:
        """Return the steps of a pass, the same on every rank."""
        return self.samples // (self.batch_size * self.world)

    def batch(self, step: int) -> list[Draw]:
        """Return this rank's batch at `step`, counted from the start of training."""
        epoch, offset = divmod(step, len(self))
        start = (offset * self.world + self.rank) * self.batch_size
        numbers = _shuffled(self.samples, self.seed, epoch)[start : start + self.batch_size].tolist()
        return [Draw(epoch, number) for number in numbers]

    def samples_before(self, step: int) -> int:
        """Return the number of samples that all ranks received before `step`."""
        return step * self.batch_size * self.world


@dataclass(frozen=True)
class EvalOrder:
    """One pass in which every sample occurs exactly once over all ranks, and all ranks have the same number of steps.

    Attributes:
        samples: Number of samples.
        batch_size: Largest number of samples per batch.
        rank: Rank of this process.
        world: Number of processes.
    """

    samples: int
    batch_size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: Some rank would have a step without a sample and leave the others waiting.
        """
        _check_batch_size(self.batch_size)
        if self.samples // self.world < len(self):
            raise UserError(
                f"{self.samples} usable validation samples cannot be shared evenly by {self.world} processes in "
                f"batches of {self.batch_size}; "
                + ("set batch_size=2 or more." if self.samples >= self.world else "use fewer, or add samples.")
            )

    def __len__(self) -> int:
        """Return the number of steps, the same on every rank."""
        largest_share = -(-self.samples // self.world)
        return -(-largest_share // self.batch_size)

    def batch(self, step: int) -> list[Draw]:
        """Return this rank's samples at `step`, in epoch 0, so that every evaluation cuts the same clips."""
        mine = range(self.rank, self.samples, self.world)
        start, stop = (len(mine) * part // len(self) for part in (step, step + 1))
        return [Draw(0, number) for number in mine[start:stop]]

    def samples_before(self, step: int) -> int | None:
        """Return None, as evaluation has no training progress."""
        return None


def check_train_order(samples: int, batch_size: int, seed: int, world: int) -> None:
    """Check the values of an order of training; see `TrainOrder`.

    Raises:
        UserError: A value is out of range, or the samples do not fill one step.
    """
    _check_batch_size(batch_size)
    if seed < 0:
        raise UserError(f"must be 0 or more, got {seed}.", argument="seed")
    if samples < batch_size * world:
        raise UserError(
            f"{samples} usable training samples do not fill one step of {batch_size} on each of {world} process(es); "
            f"set batch_size to at most {samples // world}, or add samples."
            if samples >= world
            else f"{samples} usable training samples for {world} processes; use fewer, or add samples."
        )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"must be 1 or more, got {batch_size}.", argument="batch_size")
