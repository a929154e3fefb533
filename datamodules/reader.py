"""Indexed reader: the same batches with any number of workers, and a state of one integer.

Training resumes exactly: the state counts the batches yielded, and every batch is a function of its number. Bad samples
are counted, logged and replaced by the next good one.
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
from datamodules.order import EvalOrder, SampleContext, TrainOrder, sample_rng
from mav_lightning.common.errors import UserError

__all__ = ["EvalLoader", "Fetched", "SampleReader", "TrainLoader", "unchanged"]

log = logging.getLogger(__name__)
B = TypeVar("B", bound=ImageBatch | ClipBatch)


class SampleReader(Generic[B]):
    """Random access to the usable samples of an index.

    Args:
        index: Index of the shards.
        decoder: Decodes the samples.
        seed: Seed of random crops.
        cache_bytes: Memory for decoded frames in bytes per worker; see `FrameCache`.
        max_bad: Consecutive bad samples after which reading fails.
        encoder: Id of the encoder whose cached embeddings are read; see `read_embeddings`. None reads none.

    Attributes:
        samples: The usable samples, with their shards, in the order of the index.
        refused: ``shard:key`` → why a sample is skipped before decoding.

    Raises:
        UserError: No sample is usable.
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
        self._report_refused()

    def _report_refused(self) -> None:
        if not self.refused and self.samples:
            return
        first = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in list(self.refused.items())[:3])
        count = f"{len(self.refused)} of {len(self.refused) + len(self.samples)}"
        message = f"{self.index.folder}: {count} samples cannot be used ({first})"
        if not self.samples:
            raise UserError(f"{message}, so none is left; see all with `mav data lint {self.index.folder}`.")
        log.warning(message)

    def read(self, number: int, epoch: int, bad: dict[str, str], clips: int | None = None) -> Example:
        """Decode a sample, or the next one that can be decoded.

        Args:
            number: Number of the sample.
            epoch: Number of the pass, which random crops depend on.
            bad: Samples that cannot be decoded are added here, ``shard:key`` → why.
            clips: Samples trained on before this one's batch, over all ranks. None outside training.

        Raises:
            UserError: `max_bad` consecutive samples are bad.
        """
        tried: list[str] = []
        for shift in range(min(self.max_bad, len(self.samples))):
            shard, sample = self.samples[(number + shift) % len(self.samples)]
            try:
                members = self.index.read(shard, sample, self.decoder.suffixes)
                context = SampleContext(sample_rng(self.seed, epoch, sample.key), clips)
                example = self.decoder.decode(sample.key, members, sample.media, context, self._cache)
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


def unchanged(item: Any) -> Any:
    """Return the item: the collate function of loaders whose workers build whole batches."""
    return item


class _Steps(Dataset[Fetched[B]], Sampler[int]):
    """Dataset of batches by step, and sampler of the upcoming steps, so that workers persist between passes."""

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
    """Loader of one pass over the samples, always from the start.

    Args:
        reader: Decodes the samples.
        order: Assigns samples to batches.
        workers: Processes that read ahead. 0 reads in this process. The batches do not depend on it.

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
            generator=torch.Generator(),  # otherwise each pass would advance the global one
        )

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return len(self._steps.order)

    def __iter__(self) -> Iterator[B]:
        """Yield the batches of one pass.

        Raises:
            UserError: Too many consecutive samples are bad.
        """
        return self._read(range(len(self)))

    def _read(self, steps: range) -> Iterator[B]:
        self._steps.upcoming = steps
        for fetched in self._loader:
            yield fetched.deliver(self.bad)


class TrainLoader(EvalLoader[B]):
    """Loader of endless passes, each from where the last one stopped; with `state_dict` training resumes exactly."""

    def __init__(self, reader: SampleReader[B], order: TrainOrder, workers: int = 0) -> None:
        super().__init__(reader, order, workers)
        self._step = 0
        # What the meaning of a step depends on; how a batch is split over ranks is free.
        self._identity = {
            "index_sha256": reader.index.sha256,
            "seed": order.seed,
            "global_batch_size": order.batch_size * order.world,
        }

    def __iter__(self) -> Iterator[B]:
        """Yield the remaining batches of the current pass; Lightning iterates again for the next."""
        for batch in self._read(range(self._step, (self._step // len(self) + 1) * len(self))):
            self._step += 1  # before the yield: Lightning never runs the code after the last one
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return ``step``, the number of batches yielded, and what its meaning depends on."""
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
