"""How time, operations and memory of a training step grow with frames, pixels, channels and batch.

    python benchmarks/growth.py > growth.md

One thread. Each row changes one size of a decoder and keeps the others; each cell is the exponent of a power law
through the values, fitted by least squares on logarithms, over the upper half of the sizes in parentheses: fixed costs
hide the growth of small steps. Time is processor time, the fastest of some steps; operations and peak are those of
`mav cost`. For pixels, sizes are counts of pixels, so 1 is linear.
"""

import time
from typing import Any

import numpy as np
import torch

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from mav_lightning.diffusion.denoiser import EDMDenoiser  # noqa: E402
from mav_lightning.flops import NetworkCost, denoiser_cost  # noqa: E402
from mav_lightning.nn.unet import SpaceTimeUNet  # noqa: E402

BASE = {"frames": 16, "pixels": 32, "channels": 32, "batch": 2}
SIZES = {
    "frames": (4, 8, 16, 32, 64),
    "pixels": (8, 16, 32, 64, 96),
    "channels": (16, 32, 64, 96, 128),
    "batch": (1, 2, 4, 8, 16),
}
WHAT = {
    "frames": "frames, of 32 × 32 pixels",
    "pixels": "pixels of a frame, 8 × 8 to 96 × 96",
    "channels": "channels",
    "batch": "clips",
}
STEPS = 3


def decoder(channels: int, attention: bool) -> EDMDenoiser:
    """Build a decoder of three levels, which attends to space and time in the two coarser ones or in none."""
    net = SpaceTimeUNet(channels=channels, attention=(1, 2) if attention else (), temporal_attention=attention)
    return EDMDenoiser(net, 0.5)


def step_seconds(denoiser: EDMDenoiser, batch: int, frames: int, size: int) -> float:
    """Return the processor time of the fastest of some steps."""
    net: Any = denoiser.net
    clips, cond = torch.rand(batch, 3, frames, size, size), torch.rand(batch, net.cond_channels)
    sigma, fps, seconds = torch.ones(batch), torch.full((batch,), 8.0), []
    for _ in range(STEPS):
        denoiser.zero_grad()
        begun = time.process_time()
        denoiser(clips, sigma, cond, fps).x0.square().mean().backward()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def measure(attention: bool, frames: int, pixels: int, channels: int, batch: int) -> tuple[float, NetworkCost]:
    """Return time and cost of a step."""
    torch.manual_seed(0)
    seconds = step_seconds(decoder(channels, attention), batch, frames, pixels)
    with torch.device("meta"):
        return seconds, denoiser_cost(decoder(channels, attention), pixels, frames, batch)


def exponents(sizes: tuple[int, ...], values: list[float]) -> str:
    """Return the exponent over all sizes, and over the upper half of them in parentheses."""
    x, y, half = np.log(sizes), np.log(values), len(sizes) // 2
    whole, upper = np.polyfit(x, y, 1)[0], np.polyfit(x[half:], y[half:], 1)[0]
    return f"{whole:.2f} ({upper:.2f})"


def main() -> None:
    """Print the table as Markdown."""
    torch.set_num_threads(1)
    print("| decoder | size | time of a step | operations | peak memory |\n|---|---|--:|--:|--:|")
    for attention in (False, True):
        for name, sizes in SIZES.items():
            seconds, costs = zip(*(measure(attention, **(BASE | {name: size})) for size in sizes), strict=True)
            counted = tuple(size**2 for size in sizes) if name == "pixels" else sizes
            columns = (list(seconds), [cost.flops for cost in costs], [cost.peak_bytes for cost in costs])
            cells = " | ".join(exponents(counted, values) for values in columns)
            kind = "convolutions and attention" if attention else "convolutions only"
            print(f"| {kind} | {WHAT[name]} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
