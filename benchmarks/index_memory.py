"""Size of an index, time to open it and memory of the training process: synthetic rows, sparse shards.

    python benchmarks/index_memory.py --samples 100000 --samples 1000000 > index.md

Every row is measured in processes of their own: one writes the index, one opens it, makes the order of a pass and takes
a batch of it. Times are of the processor. Memory is what that adds to the process that trains: its own, and with the
mapped index, which all processes share. Workers that are forked from it share both.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from datamodules.decoders import ImageDecoder
from datamodules.index import INDEX, Index, Shard, load_index
from datamodules.index_table import Member, Sample, SampleTable, columns_of, joined
from datamodules.media import Media
from datamodules.order import TrainOrder
from datamodules.sample_reader import SampleReader

SHARDS, PART = 50, 1000
_SHARD_BYTES = 1 << 40


def write(folder: Path, samples: int) -> None:
    """Write the index of samples of an image, a text and metadata each, as LAION's shards hold them."""
    part = [
        Sample(
            f"{number:09}",
            {name: Member(1536 * (3 * number + at), 1000, number) for at, name in enumerate(("jpg", "txt", "json"))},
            Media(256, 256 + number % 64), True, None,
        )
        for number in range(PART)
    ]  # fmt: skip
    table = SampleTable(joined([columns_of(part)] * (samples // PART)))
    shards = [Shard(f"{number:05}.tar", _SHARD_BYTES, "0" * 64, samples // SHARDS, 0) for number in range(SHARDS)]
    for shard in shards:
        with (folder / shard.name).open("wb") as file:
            file.truncate(_SHARD_BYTES)
    table.save(folder / INDEX, {"version": "2", "sha256": "0" * 64, "shards": [*map(astuple, shards)]})


def held() -> int:
    """Return the private memory of this process in bytes, pages of files that no other process maps included."""
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    kinds = {words[0]: int(words[1]) for words in lines}
    return 1024 * (kinds["Private_Clean:"] + kinds["Private_Dirty:"])


def opened(folder: Path) -> str:
    """Open the index, take two batches and return a row of the table."""
    before, begun = held(), time.process_time()
    index: Index = load_index(folder)
    opening = time.process_time() - begun
    reader = SampleReader(index, ImageDecoder(64), seed=0)
    order = TrainOrder(len(reader), 32, 0)
    for step in (0, len(order) // 2):
        [index[int(reader.numbers[draw.number])] for draw in order.batch(step)]
    ready, added = time.process_time() - begun, held() - before
    size = (folder / INDEX).stat().st_size
    count = len(index)
    mapped = min(size, added)
    return (
        f"| {count:,} | {size / 1e6:.1f} MB, {size / count:.0f} | {opening:.2f} s | {ready:.2f} s | "
        f"{(added - mapped) / 2**20:.0f} MiB, {(added - mapped) / count:.0f} | {added / 2**20:.0f} MiB |"
    )


def main(
    samples: Annotated[list[int] | None, typer.Option(help="Numbers of samples, multiples of 1000.")] = None,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the table as Markdown."""
    if folder is not None:
        print(opened(folder))
        return
    print("| samples | index, bytes per sample | opening | first batch | own memory, bytes per sample | with index |")
    print("|---|---|---|---|---|---|")
    for count in samples or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as place:
            if child := os.fork():
                os.waitpid(child, 0)
            else:
                write(Path(place), count)
                os._exit(0)
            subprocess.run([sys.executable, __file__, "--folder", place], check=True)


if __name__ == "__main__":
    typer.run(main)
