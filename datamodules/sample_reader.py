"""Random access to the usable samples of an index; bad ones are counted and replaced by the next good one."""

import hashlib
from dataclasses import replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Decoder, Example
from datamodules.embedding_cache import read_embeddings
from datamodules.frame_cache import FrameCache
from datamodules.index import Index
from datamodules.index_table import Sample
from datamodules.latent_cache import Latents
from datamodules.order import SampleContext, TrainOrder, sample_rng
from datamodules.selection import select
from datamodules.where import Where
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError
from mav_lightning.common.terminal import SafeLog

__all__ = ["SampleReader"]

_NAMED = 3  # samples in a message
log = SafeLog(__name__)
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
        where: Condition on the metadata of the samples that are read; see `select`. None reads all.
        name: Name of the dataset in a mixture, put before the keys of its samples. Empty adds nothing.
        latents: Id of the cached latents that are read in place of pixels; see `latents_name`. None reads
            pixels.

    Attributes:
        numbers: Numbers of the usable samples in the index, increasing.

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
        where: Where | None = None,
        name: str = "",
        latents: str | None = None,
    ) -> None:
        self.index, self.decoder, self.seed, self.max_bad, self.name = index, decoder, seed, max_bad, name
        self._cache = FrameCache(cache_bytes)
        self._embeddings = None if encoder is None else read_embeddings(index, encoder)
        self._latents = None if latents is None else Latents(index, latents)
        reasons, reason_of = self._refusals()
        self.numbers = np.flatnonzero(index.table.usable & (reason_of < 0))
        self._report_refused(reasons, reason_of)
        self._chosen = where is not None
        if where is not None:
            self.numbers = select(index, self.numbers, where)

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: of the index and, with a condition, of the selected samples."""
        if not self._chosen:
            return self.index.sha256
        return hashlib.sha256(f"{self.index.sha256} {self.numbers.tolist()}".encode()).hexdigest()

    def __len__(self) -> int:
        """Return the number of usable samples."""
        return len(self.numbers)

    def train_order(self, batch_size: int, seed: int, rank: int, world: int) -> TrainOrder:
        """Return the order of training; see `TrainOrder`."""
        return TrainOrder(len(self), batch_size, seed, rank, world)

    def _refusals(self) -> tuple[list[str], NDArray[np.intp]]:
        """Return reasons why samples are skipped before decoding, and the number of the reason of each sample, or -1.

        The decoder is asked once for all samples that it cannot tell apart.
        """
        table = self.index.table
        first, group = table.alike()
        asked = [self.decoder.refusal(_held(one), one.media) for one in map(table.__getitem__, first.tolist())]
        reasons = [*dict.fromkeys(reason for reason in asked if reason is not None)]
        reason_of = np.array([-1 if reason is None else reasons.index(reason) for reason in asked], np.intp)[group]
        for cache, problem in ((self._embeddings, "could not be embedded"), (self._latents, "could not be encoded")):
            if cache is not None:
                reason_of[(reason_of < 0) & ~cache.present] = len(reasons)
                reasons.append(problem)
        return reasons, reason_of

    def _report_refused(self, reasons: list[str], reason_of: NDArray[np.intp]) -> None:
        if not len(self.index):
            raise UserError(f"{self.index.folder}: the shards hold no samples; write them again.")
        if len(self) == len(self.index):
            return
        refused = np.flatnonzero(~self.index.table.usable | (reason_of >= 0))
        some = [(self.index[number], reason_of[number]) for number in refused[:_NAMED].tolist()]
        first = "; ".join(f"{shard.name}:{one.key}: {one.error or reasons[why]}" for (shard, one), why in some)
        message = f"{self.index.folder}: {len(refused)} of {len(self.index)} samples cannot be used ({first})"
        if not len(self):
            raise UserError(f"{message}, so none is left; see all with `mav data lint {self.index.folder}`.")
        log.warning(message)

    def read(self, number: int, epoch: int, bad: dict[str, str], clips: int | None = None) -> Example:
        """Decode a sample, or the next one that can be decoded.

        Args:
            number: Number of the sample among the usable ones.
            epoch: Number of the pass, which random crops depend on.
            bad: Samples that cannot be decoded are added here, ``shard:key`` → why.
            clips: Samples trained on before this one's batch, over all ranks. None outside training.

        Raises:
            UserError: `max_bad` consecutive samples are bad.
            MachineError: The operating system cannot read a shard.
        """
        tried: list[str] = []
        for shift in range(min(self.max_bad, len(self))):
            place = int(self.numbers[(number + shift) % len(self)])
            shard, sample = self.index[place]
            key = f"{self.name}/{sample.key}" if self.name else sample.key
            try:
                members = self.index.read(shard, sample, self.decoder.suffixes)
                context = SampleContext(sample_rng(self.seed, epoch, key), clips)
                cache = self._cache if self._latents is None else self._latents.of(place)
                example = self.decoder.decode(key, members, sample.media, context, cache)
                embeddings = self._embeddings
                return example if embeddings is None else replace(example, embedding=embeddings.rows[place].copy())
            except MachineError:
                raise
            except UserError as error:
                tried.append(f"{shard.name}:{key}")
                bad[tried[-1]] = str(error)
            except (OSError, MemoryError) as error:
                raise MachineError(f"{shard.name}:{key}: cannot be decoded here ({error!r}).") from error
        raise UserError(
            f"{self.index.folder}: {len(tried)} bad samples in a row ({', '.join(tried)}); the last: {bad[tried[-1]]} "
            f"Find all with `mav data lint {self.index.folder}`, then remove them and index again."
        )

    def describe(self, number: int) -> str:
        """Return the shard and the key of a sample, by its number among the usable ones."""
        shard, sample = self.index[int(self.numbers[number])]
        return f"{self.index.folder / shard.name} (sample `{sample.key}`)"


def _held(sample: Sample) -> list[str]:
    """Return the suffixes of a sample as `Decoder.refusal` takes them."""
    return [*(suffix for suffix in sample.members if suffix != "txt"), *(("txt",) if sample.captioned else ())]
