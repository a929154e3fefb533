"""What a streaming loader gives of shards whose samples are `0` to `11`."""

from itertools import islice
from typing import Any

from datamodules.batch import ImageBatch
from datamodules.decoders import ImageDecoder
from datamodules.remote import StreamLimits
from datamodules.streaming import StreamingLoader

HERE = StreamLimits(private=True, silence=0.3)
ALL = {f"{number}:{number}" for number in range(12)}


def samples(
    *urls: str, limits: StreamLimits = HERE, batches: int = 6, **options: Any
) -> tuple[list[str], dict[str, str]]:
    """Keys with their captions, and the bad samples, of some batches of four."""
    options = {"batch_size": 4, "seed": 0, "shuffle": 1, **options}
    loader: StreamingLoader[ImageBatch] = StreamingLoader(urls, ImageDecoder(4), limits=limits, **options)
    found = [
        f"{key}:{caption}"
        for batch in islice(loader, batches)
        for key, caption in zip(batch.key, batch.caption or [], strict=True)
    ]
    return found, loader.bad
