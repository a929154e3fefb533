"""Base of caches stored next to shards: per-sample decoding, and a file tied to one model and one set of shards."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from datamodules.index import Index
from datamodules.index_table import Sample
from datamodules.media import find_media
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError
from mav_lightning.common.tensor_file import read_metadata
from mav_lightning.shards.samples import SUFFIXES, SampleError

__all__ = ["decode_samples", "demand_cache"]

T = TypeVar("T")


def decode_samples(
    index: Index, numbers: Iterable[int], decode: Callable[[str, bytes, Sample], T], bad: dict[str, str]
) -> list[T | None]:
    """Decode samples of an index.

    Args:
        index: The index.
        numbers: Numbers of the samples.
        decode: Decodes the suffix and the bytes of a video or an image.
        bad: Samples that cannot be decoded are added here, ``shard:key`` → why.

    Returns:
        What `decode` returned for each sample; None where it failed.

    Raises:
        MachineError: The operating system cannot read a shard.
    """
    found: list[T | None] = []
    for number in numbers:
        shard, sample = index[number]
        try:
            if sample.error is not None or sample.media is None:
                raise SampleError(sample.error or "holds no video or image")
            members = index.read(shard, sample, SUFFIXES)
            suffix = find_media(members)
            assert suffix is not None  # the index has probed it
            found.append(decode(suffix, members[suffix], sample))
        except MachineError:
            raise
        except UserError as error:
            bad[f"{shard.name}:{sample.key}"] = str(error)
            found.append(None)
    return found


def demand_cache(
    path: Path, what: tuple[str, str], others: Iterable[str], belongs: tuple[str, str], remedy: str
) -> Mapping[str, str]:
    """Return the metadata of a cache; raise an error if it does not exist or does not belong to the shards.

    Args:
        path: File of the cache.
        what: Content of the cache and the network that computes it, plural nouns for the messages.
        others: Networks of which a cache exists in this folder, for the messages.
        belongs: Key and value of the metadata by which it belongs to the shards.
        remedy: Command that writes it, for messages.

    Raises:
        UserError: There is no such file, or it was made for other shards.
    """
    found = read_metadata(path)
    if found is None:
        listed = ", ".join(sorted(others)) or "none"
        raise UserError(f"{path}: no such {what[0]} (found those of other {what[1]}: {listed}); {remedy}.")
    if found.get(belongs[0]) != belongs[1]:
        raise UserError(f"{path}: made for other shards; {remedy}.")
    return found
