"""Writing of shards in the layout of WebDataset; `mav_lightning.shards` reads them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import webdataset

__all__ = ["write_shards"]

_SHARD_BYTES = 1 << 30


def write_shards(folder: Path, samples: Iterable[Mapping[str, bytes]], samples_per_shard: int) -> int:
    """Write ``00000.tar``, ``00001.tar``, … of at most `samples_per_shard` samples or 1 GiB each.

    Keys are consecutive numbers of nine digits. The same samples give the same bytes, as no times are stored.

    Args:
        folder: New folder of the shards.
        samples: Suffix → bytes for each sample.
        samples_per_shard: Largest number of samples per shard.

    Returns:
        The number of samples.
    """
    folder.mkdir(parents=True)
    pattern = str(folder).replace("%", "%%") + "/%05d.tar"
    count = 0
    with webdataset.ShardWriter(
        pattern, maxcount=samples_per_shard, maxsize=_SHARD_BYTES, verbose=0, mtime=0, encoder=False, compress=False
    ) as writer:
        for count, members in enumerate(samples, start=1):
            writer.write({"__key__": f"{count - 1:09d}", **members})
    return count
