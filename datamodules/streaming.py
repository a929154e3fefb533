"""Streaming reader: remote shards through webdataset, sampled with replacement; not exactly resumable.

Shards are untrusted: names are checked, only listed suffixes are read, nothing is unpickled, and a sample is used only
if its shard continues or properly ends after it. webdataset samples and shuffles; its openers, which run shells, and
its file cache, which confuses shards of the same name, are not used.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import torch
import webdataset
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Decoder, Example
from datamodules.frame_cache import FrameCache
from datamodules.order import SampleContext, sample_rng
from datamodules.parallel import unchanged
from datamodules.reader import TIMEOUT, Fetched
from datamodules.remote import StreamLimits, check_hosts, open_shard
from datamodules.shard_urls import shard_urls, shown_url
from datamodules.watchdog import Watchdog
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError, attempts, with_retries
from mav_lightning.shards.samples import Group, SampleError, ShardReader
from mav_lightning.shards.tar_members import ShardError, TarMember

__all__ = ["StreamingLoader", "shard_urls"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)
_LIMITS = StreamLimits()
_REPEATED = "its key comes twice in the shard; write the shard again"


class StreamingLoader(Generic[B]):
    """Loader of endless batches from randomly sampled shards, each read sequentially through a shuffle buffer.

    The same seed, ranks and workers give the same batches from the start; resumed training starts over.

    Args:
        urls: Local paths and addresses, as `shard_urls` returns them.
        decoder: Decodes the samples.
        batch_size: Samples per batch on each rank.
        seed: Seed of the sampling, the shuffle and random crops.
        rank: Rank of this process.
        world: Number of processes.
        workers: Processes that read ahead. 0 reads in this process.
        limits: Limits on what the servers may send.
        timeout: Seconds without any movement of the workers, beyond the silence that servers may keep, after which
            reading fails; see `Watchdog`.
        shuffle: Size of each worker's shuffle buffer in encoded samples.
        max_bad: Consecutive bad samples or shards after which reading fails.

    Attributes:
        bad: ``shard:key`` → why a sample, or the rest of a shard, was skipped.

    Raises:
        UserError: A host of the addresses is not allowed.
    """

    def __init__(
        self,
        urls: Sequence[str],
        decoder: Decoder[B],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        limits: StreamLimits = _LIMITS,
        timeout: float = TIMEOUT,
        shuffle: int = 256,
        max_bad: int = 16,
    ) -> None:
        with_retries(partial(check_hosts, list(urls), limits), "the hosts of the shards")
        self.bad: dict[str, str] = {}
        self._watchdog = Watchdog(workers, timeout + limits.silence, lambda number: shown_url(urls[number]))
        source = _Source(tuple(urls), seed, rank, world, shuffle, limits)
        self._loader: DataLoader[Fetched[B]] = DataLoader(
            _Stream(source, decoder, batch_size, max_bad, self._watchdog),
            batch_size=None,
            collate_fn=unchanged,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
            **self._watchdog.options(),
        )

    def __iter__(self) -> Iterator[B]:
        """Yield batches endlessly.

        Raises:
            UserError: Too many consecutive samples are bad, or an address is not allowed.
            MachineError: A shard cannot be read, also after several attempts.
        """
        for fetched in self._watchdog.watch(self._loader):
            yield fetched.deliver(self.bad)


@dataclass(frozen=True)
class _Visited:
    """A sample as it arrived, or, with an error, the end of a shard that breaks off.

    Attributes:
        visit: Number of the shard in the order of reading, from 0.
        url: Its address.
        sample: The sample.
    """

    visit: int
    url: str
    sample: Group[bytes]


@dataclass(frozen=True)
class _Source:
    """Samples of randomly chosen shards; see `StreamingLoader`."""

    urls: tuple[str, ...]
    seed: int
    rank: int
    world: int
    shuffle: int
    limits: StreamLimits

    def seed_here(self) -> int:
        """Return the seed of this worker of this rank."""
        worker = get_worker_info()
        here, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self.seed * self.world * workers + self.rank * workers + here

    def samples(self, beat: Callable[[int], None]) -> Iterable[_Visited]:
        """Yield shuffled samples endlessly; `beat` is called with the number of the shard that is read."""
        seed = self.seed_here()
        shards = webdataset.ResampledShards(list(self.urls), seed=seed, worker_seed=int, deterministic=True)
        shuffled = webdataset.detshuffle(self.shuffle, initial=self.shuffle, seed=seed)
        return cast(Iterable[_Visited], webdataset.DataPipeline(shards, partial(self._visits, beat=beat), shuffled))

    def _visits(self, shards: Iterable[dict[str, str]], beat: Callable[[int], None]) -> Iterator[_Visited]:
        numbers = {url: number for number, url in enumerate(self.urls)}
        for visit, shard in enumerate(shards):
            url, complete = shard["url"], list[str]()
            try:
                for sample in self._attempted(url, complete):
                    beat(numbers[url])
                    yield _Visited(visit, url, sample)
            except ShardError as error:
                name = f"(after {len(complete)} samples)"
                yield _Visited(visit, url, Group(name, error=f"the shard breaks off: {error}"))

    def _attempted(self, url: str, complete: list[str]) -> Iterator[Group[bytes]]:
        """Yield each sample of a shard once, added to `complete`; a new attempt skips those before.

        A sample never has members from two attempts.
        """
        for attempt in attempts(shown_url(url)):
            with attempt, open_shard(url, self.limits) as (stream, size):
                seen = set(complete)
                for number, sample in enumerate(ShardReader(stream, _load, size)):
                    if number >= len(complete):
                        complete.append(sample.key)
                        yield Group(sample.key, error=_REPEATED) if sample.key in seen else sample
                        seen.add(sample.key)
                    elif sample.key != complete[number]:
                        raise ShardError("it has changed between two attempts to read it.")


class _Stream(IterableDataset[Fetched[B]]):
    """One worker's batches."""

    def __init__(self, source: _Source, decoder: Decoder[B], batch_size: int, max_bad: int, watchdog: Watchdog) -> None:
        self.source, self.decoder, self.batch_size = source, decoder, batch_size
        self.max_bad, self.watchdog = max_bad, watchdog

    def __iter__(self) -> Iterator[Fetched[B]]:
        try:
            yield from self._batches()
        except UserError as error:
            yield Fetched(failure=str(error))

    def _batches(self) -> Iterator[Fetched[B]]:
        examples: list[Example] = []
        bad: dict[str, str] = {}
        row = 0
        for visited in self.source.samples(self.watchdog.beat):
            try:
                examples.append(self._decode(visited))
                row = 0
            except MachineError:
                raise
            except UserError as error:
                bad[f"{shown_url(visited.url)}:{visited.sample.key}"] = str(error)
                row += 1
            if row == self.max_bad:
                raise UserError(f"{row} bad samples in a row: {bad}; remove them, or check the address.")
            if len(examples) == self.batch_size:
                yield Fetched(self.decoder.collate(examples), bad)
                examples, bad = [], {}

    def _decode(self, visited: _Visited) -> Example:
        sample = visited.sample
        if sample.error is not None:
            raise SampleError(sample.error)
        context = SampleContext(sample_rng(self.source.seed_here(), visited.visit, sample.key))
        nothing_kept = FrameCache(0)  # a stream may never see a sample twice
        return self.decoder.decode(sample.key, sample.members, None, context, nothing_kept)


def _load(member: TarMember, read: Callable[[], bytes]) -> bytes:
    return read()
