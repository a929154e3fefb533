"""Streaming reader: remote shards through webdataset, sampled with replacement; not exactly resumable.

Shards are untrusted: names are checked, only listed suffixes are read, nothing is unpickled, and a sample is used only
if its shard continues or properly ends after it. webdataset samples and shuffles; its openers, which run shells, and
its file cache, which confuses shards of the same name, are not used.
"""

import http.client
import re
import tarfile
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, cast

import braceexpand
import torch
import webdataset
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Decoder, Example
from datamodules.frame_cache import FrameCache
from datamodules.order import SampleContext, sample_rng
from datamodules.reader import Fetched, unchanged
from datamodules.shards import SUFFIXES, Group, SampleError, group_members, suffix_of
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.media.limits import DEFAULT_LIMITS

__all__ = ["StreamingLoader", "shard_urls"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)
_BLOCK = 512
_TIMEOUT = 60.0  # seconds without a byte from a server


def shard_urls(source: str | Path) -> list[str]:
    """Return the shards of a local folder, or of a brace pattern such as ``https://host/{00000..00099}.tar``.

    Raises:
        UserError: There are no shards, or the scheme is not https; above all `pipe:` would run a shell.
    """
    if isinstance(source, Path):
        urls = sorted(map(str, source.glob("*.tar")))
    else:
        urls = list(braceexpand.braceexpand(source))
    for url in urls:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
        if scheme and scheme[1].lower() != "https":
            raise UserError(
                f"{url}: shards are read from local paths and https, not `{scheme[1]}:`; download or mount them."
            )
    if not urls:
        raise UserError(f"{source}: holds no .tar shards; write some with `mav data pack` or `mav data shapes`.")
    return urls


class StreamingLoader(Generic[B]):
    """Loader of endless batches from randomly sampled shards, each read sequentially through a shuffle buffer.

    The same seed, ranks and workers give the same batches from the start; resumed training starts over.

    Args:
        urls: Local paths or https addresses.
        decoder: Decodes the samples.
        batch_size: Samples per batch on each rank.
        seed: Seed of the sampling, the shuffle and random crops.
        rank: Rank of this process.
        world: Number of processes.
        workers: Processes that read ahead. 0 reads in this process.
        shuffle: Size of each worker's shuffle buffer in encoded samples.
        max_bad: Consecutive bad samples or shards after which reading fails.

    Attributes:
        bad: ``shard:key`` → why a sample, or the rest of a shard, was skipped.
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
        shuffle: int = 256,
        max_bad: int = 16,
    ) -> None:
        self.bad: dict[str, str] = {}
        stream = _Stream(urls, decoder, batch_size, seed, rank, world, shuffle, max_bad)
        self._loader: DataLoader[Fetched[B]] = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            collate_fn=unchanged,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[B]:
        """Yield batches endlessly.

        Raises:
            UserError: Too many consecutive samples are bad.
        """
        for fetched in self._loader:
            yield fetched.deliver(self.bad)


class _Stream(IterableDataset[Fetched[B]]):
    """One worker's batches."""

    def __init__(
        self,
        urls: Sequence[str],
        decoder: Decoder[B],
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        shuffle: int,
        max_bad: int,
    ) -> None:
        self.urls, self.decoder, self.batch_size, self.seed = urls, decoder, batch_size, seed
        self.rank, self.world, self.shuffle, self.max_bad = rank, world, shuffle, max_bad

    def __iter__(self) -> Iterator[Fetched[B]]:
        worker = get_worker_info()
        here, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        place = self.rank * workers + here
        seed = self.seed * self.world * workers + place
        shards = webdataset.ResampledShards(list(self.urls), seed=seed, worker_seed=int, deterministic=True)
        shuffled = webdataset.detshuffle(self.shuffle, initial=self.shuffle, seed=seed)
        pipeline = webdataset.DataPipeline(shards, _samples, shuffled)
        return self._batches(cast(Iterable[tuple[int, str, Group[bytes]]], pipeline), seed)

    def _batches(self, samples: Iterable[tuple[int, str, Group[bytes]]], seed: int) -> Iterator[Fetched[B]]:
        examples: list[Example] = []
        bad: dict[str, str] = {}
        nothing_kept = FrameCache(0)  # a stream may never see a sample twice
        row = 0
        for visit, url, group in samples:
            try:
                if group.error is not None:
                    raise SampleError(group.error)
                context = SampleContext(sample_rng(seed, visit, group.key))
                examples.append(self.decoder.decode(group.key, group.members, None, context, nothing_kept))
                row = 0
            except (UserError, OSError) as error:
                bad[f"{url}:{group.key}"] = str(error)
                row += 1
            if row == self.max_bad:
                yield Fetched(bad=bad, failure=f"{row} bad samples in a row: {bad}; remove them, or check the address.")
                return
            if len(examples) == self.batch_size:
                yield Fetched(self.decoder.collate(examples), bad)
                examples, bad = [], {}


def _samples(shards: Iterable[dict[str, str]]) -> Iterator[tuple[int, str, Group[bytes]]]:
    """Shards → (number of the visit, url, sample); an incomplete shard ends with a sample that holds the error."""
    for visit, shard in enumerate(shards):
        url, seen = shard["url"], set[str]()
        try:
            with _open(url) as stream:
                for group in group_members(_members(stream)):
                    if group.key in seen:
                        group = Group(group.key, error="its key comes twice in the shard; write the shard again")
                    seen.add(group.key)
                    yield visit, url, group
        except (UserError, OSError, tarfile.TarError, http.client.HTTPException) as error:
            yield visit, url, Group(f"(after {counted(len(seen), 'sample')})", error=f"the shard breaks off: {error}")


def _open(url: str) -> IO[bytes]:
    if url.startswith("https:"):
        return cast(IO[bytes], urllib.request.urlopen(url, timeout=_TIMEOUT))
    return open(url, "rb")


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files of a tar as it arrives; other suffixes are skipped unread."""
    watched: Any = _Watched(stream)
    with tarfile.open(fileobj=watched, mode="r|") as archive:
        for entry in archive:
            if not entry.isreg():
                continue
            data = b""
            if suffix_of(entry.name) in SUFFIXES:
                if entry.size > DEFAULT_LIMITS.bytes:
                    raise SampleError(f"`{entry.name}` has {entry.size} bytes, more than {DEFAULT_LIMITS.bytes}.")
                file = archive.extractfile(entry)
                data = b"" if file is None else file.read()
            yield entry.name, data
            cast(Any, archive).members = []  # tarfile would keep every entry
    if watched.tail.strip(b"\0"):
        raise SampleError("its end is missing.")  # tarfile takes a cut between two members for the end


class _Watched:
    """A stream that keeps the last block read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.tail = stream, b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.tail = data[-_BLOCK:] or self.tail
        return data
