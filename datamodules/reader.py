"""The indexed reader: the same batches for any number of workers, and a state of one integer.

Training continues exactly where it stopped: the state counts the batches that were handed out, and every batch is a
function of its number. Bad samples are counted, named and replaced by the next good one.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Decoder, Example
from datamodules.embedding_cache import read_embeddings
from datamodules.frame_cache import FrameCache
from datamodules.index import Index, Sample, Shard
from datamodules.order import Chance, EvalOrder, TrainOrder, sample_rng
from mav_lightning.common.errors import UserError

__all__ = ["EvalLoader", "Fetched", "SampleReader", "TrainLoader", "unchanged"]

log = logging.getLogger(__name__)
B = TypeVar("B", bound=ImageBatch | ClipBatch)


class SampleReader(Generic[B]):
    """Decodes any usable sample of an index.

    Args:
        index: Where the samples lie.
        decoder: What they become.
        seed: Of the cuts.
        cache_bytes: Memory for decoded frames, in each worker; see `FrameCache`.
        max_bad: Bad samples in a row after which reading is given up.
        encoder: Whose cached embeddings the examples carry, see `read_embeddings`; None for none.

    Attributes:
        samples: The usable samples, with their shards, in the order of the index.
        refused: ``shard:key`` → why a sample was left out before any was decoded.

    Raises:
        UserError: No usable sample at all.
    """

    def __init__(
        self,
        index: Index,
        decoder: Decoder[B],
        seed: int,
        cache_bytes: int = 0,
        max_bad: int = 16,
        encoder: str | None = None,
    ) -> None:
        self.index, self.decoder, self.seed, self.max_bad = index, decoder, seed, max_bad
        self._cache = FrameCache(cache_bytes)
        self._embeddings = None if encoder is None else read_embeddings(index, encoder)
        self.samples: list[tuple[Shard, Sample]] = []
        self.refused: dict[str, str] = {}
        for shard, sample in index:
            refusal = sample.error or decoder.refusal(sample.members, sample.media)
            if refusal is None and self._embeddings is not None and sample.key not in self._embeddings:
                refusal = "could not be embedded"
            if refusal is None:
                self.samples.append((shard, sample))
            else:
                self.refused[f"{shard.name}:{sample.key}"] = refusal
        self._tell_refused()

    def _tell_refused(self) -> None:
        if not self.refused and self.samples:
            return
        first = "; ".join(f"{name}: {reason}" for name, reason in list(self.refused.items())[:3])
        count = f"{len(self.refused)} of {len(self.refused) + len(self.samples)}"
        message = f"{self.index.folder}: {count} samples cannot be used ({first})"
        if not self.samples:
            raise UserError(f"{message}, so none is left; see all with `mav data lint {self.index.folder}`.")
        log.warning(message)

    def read(self, number: int, epoch: int, bad: dict[str, str], before: int | None = None) -> Example:
        """Decodes sample `number`, or the next that can be; adds those that cannot to `bad`, ``shard:key`` → why.

        `before` is the number of samples trained on before this one's batch, or None outside training.

        Raises:
            UserError: `max_bad` in a row were bad.
        """
        tried: list[str] = []
        for shift in range(min(self.max_bad, len(self.samples))):
            shard, sample = self.samples[(number + shift) % len(self.samples)]
            try:
                members = self.index.read(shard, sample, self.decoder.suffixes)
                chance = Chance(sample_rng(self.seed, epoch, sample.key), before)
                example = self.decoder.decode(sample.key, members, sample.media, chance, self._cache)
                embeddings = self._embeddings
                return example if embeddings is None else replace(example, embedding=embeddings[sample.key])
            except (UserError, OSError) as error:
                tried.append(f"{shard.name}:{sample.key}")
                bad[tried[-1]] = str(error)
        raise UserError(
            f"{self.index.folder}: {len(tried)} bad samples in a row ({', '.join(tried)}); the last: {bad[tried[-1]]} "
            f"Find all with `mav data lint {self.index.folder}`, then remove them and index again."
        )


@dataclass
class Fetched(Generic[B]):
    """What a worker sends back; a failure travels as text, since torch would wrap an exception in its traceback.

    Attributes:
        batch: The batch, or None after a failure.
        bad: ``shard:key`` → why a sample was replaced.
        failure: Why reading was given up, or None.
    """

    batch: B | None = None
    bad: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    def pin_memory(self) -> "Fetched[B]":
        """The same with the batch in page-locked memory; called by torch where there is a GPU."""
        return Fetched(None if self.batch is None else cast(B, self.batch.pin_memory()), self.bad, self.failure)

    def deliver(self, bad: dict[str, str]) -> B:
        """Adds the bad samples to `bad`, names the new ones in the log, and gives the batch.

        Raises:
            UserError: Reading was given up.
        """
        for name in self.bad.keys() - bad.keys():
            log.warning("bad sample %s replaced: %s", name, self.bad[name])
        bad.update(self.bad)
        if self.batch is None:
            raise UserError(self.failure or "")
        return self.batch


def unchanged(item: Any) -> Any:
    """Collates nothing, for loaders whose workers make whole items."""
    return item


class _Steps(Dataset[Fetched[B]], Sampler[int]):
    """Step → batch; also says which steps come next, so that the workers can live from one pass to the next."""

    def __init__(self, reader: SampleReader[B], order: TrainOrder | EvalOrder) -> None:
        self.reader, self.order, self.upcoming = reader, order, range(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.upcoming)

    def __len__(self) -> int:
        return len(self.upcoming)

    def __getitem__(self, step: int) -> Fetched[B]:
        fetched: Fetched[B] = Fetched()
        epoch, numbers = self.order.batch(step)
        before = self.order.samples_before(step)
        try:
            examples = [self.reader.read(number, epoch, fetched.bad, before) for number in numbers]
        except UserError as error:
            fetched.failure = str(error)
        else:
            fetched.batch = self.reader.decoder.collate(examples)
        return fetched


class EvalLoader(Generic[B]):
    """One pass over the samples, always from the start.

    Args:
        reader: Decodes the samples.
        order: Says which make up which batch.
        workers: Processes that read ahead; 0 reads in this one. The batches do not depend on it.

    Attributes:
        bad: ``shard:key`` → why a sample was replaced, for all batches so far.
    """

    def __init__(self, reader: SampleReader[B], order: TrainOrder | EvalOrder, workers: int = 0) -> None:
        self.bad: dict[str, str] = {}
        self._steps = _Steps(reader, order)
        self._loader: DataLoader[Fetched[B]] = DataLoader(
            self._steps,
            batch_size=None,
            sampler=self._steps,
            num_workers=workers,
            collate_fn=unchanged,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or else each pass would draw from the global one
        )

    def __len__(self) -> int:
        """Batches in a pass."""
        return len(self._steps.order)

    def __iter__(self) -> Iterator[B]:
        """Gives the batches of one pass.

        Raises:
            UserError: Too many bad samples in a row.
        """
        return self._read(range(len(self)))

    def _read(self, steps: range) -> Iterator[B]:
        self._steps.upcoming = steps
        for fetched in self._loader:
            yield fetched.deliver(self.bad)


class TrainLoader(EvalLoader[B]):
    """Passes without end, each from where the last one stopped; `state_dict` makes a resumed training exact."""

    def __init__(self, reader: SampleReader[B], order: TrainOrder, workers: int = 0) -> None:
        super().__init__(reader, order, workers)
        self._step = 0
        # What the meaning of a step number hangs on; the split of a batch over ranks is free.
        self._identity = {
            "index_sha256": reader.index.sha256,
            "seed": order.seed,
            "global_batch_size": order.batch_size * order.world,
        }

    def __iter__(self) -> Iterator[B]:
        """Gives the batches that are left of the current pass; Lightning asks again for the next."""
        for batch in self._read(range(self._step, (self._step // len(self) + 1) * len(self))):
            self._step += 1  # before the yield: Lightning never runs what comes after the last one
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """``step``, the number of batches handed out, and what that number hangs on."""
        return {"step": self._step, **self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues after the batch at which `state` was taken.

        Raises:
            UserError: The shards, the seed or the global batch size are not those of the checkpoint.
        """
        for name, now in self._identity.items():
            if state[name] != now:
                raise UserError(
                    f"{name}: the checkpoint was made with {state[name]}, the data now has {now}, so training cannot "
                    f"continue with the same batches; restore it, or start a new run in another folder."
                )
        self._step = state["step"]
