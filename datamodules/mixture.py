"""Mixtures of datasets: which dataset and which sample every place of the training stream takes, by integers alone."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from math import ceil, floor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Example
from datamodules.order import Draw, check_train_order
from datamodules.sample_reader import SampleReader
from mav_lightning.common.errors import UserError

__all__ = ["MixtureOrder", "MixtureReader"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)
_LONGEST_BLOCK = 2_000_000  # places, which are held in memory
_BLOCKS = 1 << 31  # number of no dataset: seeds the arrangement of blocks


@dataclass(frozen=True)
class MixtureOrder:
    """Endless order of samples of several datasets, in proportion to the datasets' weights.

    The stream is cut into blocks. After every block, the number of samples of a dataset differs from its exact share by
    at most 1; within a block, the order of the datasets is shuffled. Each dataset is read in passes of its own, every
    sample once per pass, in a new order each time. Any place of the stream is computed from its number, so R ranks with
    batches of B/R see in each step what one rank sees with B.

    Attributes:
        sizes: Number of samples of each dataset.
        weights: Weight of each dataset, above 0; only their ratios matter.
        batch_size: Samples per batch on each rank.
        seed: Seed of the shuffles, at least 0.
        rank: Rank of this process.
        world: Number of processes.

    Raises:
        UserError: A value is out of range, or the samples do not fill one step.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        check_train_order(sum(self.sizes), self.batch_size, self.seed, self.world)
        if self.block > _LONGEST_BLOCK:
            raise UserError(
                f"weights: {min(self.weights):g} is less than a millionth of their sum, {sum(self.weights):g}; raise "
                "it, or leave the dataset out.",
                argument="root",
            )

    def __len__(self) -> int:
        """Return the steps of a pass, which is as long as all datasets together, the same on every rank."""
        return sum(self.sizes) // (self.batch_size * self.world)

    def batch(self, step: int) -> list[Draw]:
        """Return this rank's batch at `step`, counted from the start of training, as numbers of `MixtureReader`."""
        start = (step * self.world + self.rank) * self.batch_size
        return [self._draw(place) for place in range(start, start + self.batch_size)]

    def samples_before(self, step: int) -> int:
        """Return the number of samples that all ranks received before `step`."""
        return step * self.batch_size * self.world

    @cached_property
    def block(self) -> int:
        """Samples per block: enough that every block has a sample of the rarest dataset."""
        shares = self._shares
        return ceil(2 / min(end - start for start, end in zip([Fraction(0), *shares], shares, strict=False)))

    @cached_property
    def _shares(self) -> list[Fraction]:
        """Cumulative fraction of the stream up to each dataset; weights count as the decimal numbers they are."""
        weights = [Fraction(str(weight)) for weight in self.weights]
        return [part / sum(weights) for part in accumulate(weights)]

    def _draw(self, place: int) -> Draw:
        block, offset = divmod(place, self.block)
        before, now = _counts(self, block), _arrangement(self, block)
        dataset = int(now[offset])
        nth = before[dataset] + int(np.count_nonzero(now[:offset] == dataset))
        epoch, number = divmod(nth, self.sizes[dataset])
        return Draw(epoch, sum(self.sizes[:dataset]) + int(self._orders[dataset](epoch)[number]))

    @cached_property
    def _orders(self) -> "list[Callable[[int], NDArray[np.int64]]]":
        """For each dataset, the order of its samples in a pass; only the latest passes are kept."""
        return [lru_cache(maxsize=2)(partial(_shuffled, self, dataset)) for dataset in range(len(self.sizes))]


def _shuffled(order: MixtureOrder, dataset: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([order.seed, epoch, dataset]).permutation(order.sizes[dataset])


@lru_cache(maxsize=8)
def _counts(order: MixtureOrder, block: int) -> list[int]:
    """Return how many samples of each dataset precede a block: its share, rounded so that the sum is exact."""
    ends = [floor(block * order.block * share + Fraction(1, 2)) for share in order._shares]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@lru_cache(maxsize=4)
def _arrangement(order: MixtureOrder, block: int) -> NDArray[np.int64]:
    """Return the dataset of each place of a block."""
    amounts = np.array(_counts(order, block + 1)) - np.array(_counts(order, block))
    placed = np.repeat(np.arange(len(amounts)), amounts)
    return np.random.default_rng([order.seed, block, _BLOCKS]).permutation(placed)


class MixtureReader(Generic[B]):
    """Random access to the samples of several datasets, numbered consecutively in the order of the datasets' names.

    Args:
        readers: Name → reader of the dataset.
        weights: Name → how often the dataset's samples are drawn in training, relative to the others.
    """

    def __init__(self, readers: Mapping[str, SampleReader[B]], weights: Mapping[str, float]) -> None:
        self.names = sorted(readers)
        self.readers = [readers[name] for name in self.names]
        self.weights = tuple(weights[name] for name in self.names)
        self.decoder = self.readers[0].decoder  # the same for all
        self._ends = np.cumsum([len(reader) for reader in self.readers])

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._ends[-1])

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: name, weight and content of each dataset."""
        parts = zip(self.names, self.weights, self.readers, strict=True)
        content = [[name, str(Fraction(str(weight))), reader.sha256] for name, weight, reader in parts]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def train_order(self, batch_size: int, seed: int, rank: int, world: int) -> MixtureOrder:
        """Return the order of training; see `MixtureOrder`."""
        sizes = tuple(len(reader) for reader in self.readers)
        return MixtureOrder(sizes, self.weights, batch_size, seed, rank, world)

    def read(self, number: int, epoch: int, bad: dict[str, str], clips: int | None = None) -> Example:
        """Decode a sample, or the next one of its dataset that can be decoded; see `SampleReader.read`."""
        reader, number = self._find(number)
        return reader.read(number, epoch, bad, clips)

    def describe(self, number: int) -> str:
        """Return the shard and the key of a sample."""
        reader, number = self._find(number)
        return reader.describe(number)

    def _find(self, number: int) -> tuple[SampleReader[B], int]:
        dataset = int(np.searchsorted(self._ends, number, "right"))
        return self.readers[dataset], number - int(self._ends[dataset]) + len(self.readers[dataset])
