"""Peak memory of spatial super-resolution, by length of the clip and frames computed at once.

    python benchmarks/memory.py --frames 16 --frames 76 --chunk 1 --chunk 8 --chunk 76 > memory.md

One clip with the geometry of `paper`, 256 → 768 pixels, random weights of a scale's own network, two sampler steps:
more steps take longer and no more memory. Every cell is a process of its own; what it held before is taken off.
"""

import resource
import subprocess
import sys
import time
from typing import Annotated

import torch
import typer

from mav_lightning.cascade.sample_networks import super_resolve_frames
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.units import duration, memory
from mav_lightning.config import instantiate, load_config

SMALL, FACTOR = 256, 3


def peak() -> int:
    """Most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def sample(scale: str, frames: int, chunk: int) -> str:
    """Upsample one clip, and return the peak above the network's own memory and the time."""
    network = instantiate(load_config(f"stage/sr_high_{scale}.yaml")["module"]["denoiser"]).eval()
    sampling = Sampling(SMALL, frames, high_factor=FACTOR, chunk=chunk, steps=2, batch_size=1)
    before, begun = peak(), time.perf_counter()
    with torch.inference_mode():
        clips = torch.zeros(1, 3, frames, SMALL, SMALL)
        large = super_resolve_frames(network, clips, torch.tensor([30.0]), [0], sampling)
    assert large.shape == (1, 3, frames, SMALL * FACTOR, SMALL * FACTOR)
    return f"{memory(peak() - before)}, {duration(time.perf_counter() - begun)}"


def main(
    scale: Annotated[str, typer.Option(help="Whose network: tiny, small or paper.")] = "tiny",
    frames: Annotated[list[int] | None, typer.Option(help="Frames of the clip; several for several rows.")] = None,
    chunk: Annotated[list[int] | None, typer.Option(help="Frames at once; several for several columns.")] = None,
    alone: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Prints a table of peaks as Markdown."""
    lengths, chunks = frames or [76], chunk or [8]
    if alone:
        typer.echo(sample(scale, lengths[0], chunks[0]))
        return
    size = SMALL * FACTOR
    typer.echo(f"| clip of {size} px, network of `{scale}` | " + " | ".join(f"{c} at once" for c in chunks) + " |")
    typer.echo("|" + "---|" * (1 + len(chunks)))
    for length in lengths:
        words = ["--scale", scale, "--frames", str(length), "--alone"]
        cells = [
            subprocess.run(
                [sys.executable, __file__, *words, "--chunk", str(c)], check=True, capture_output=True, text=True
            ).stdout.strip()
            for c in chunks
        ]
        typer.echo(f"| {length} frames, {memory(4 * 3 * length * size**2)} of pixels | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
