"""Memory of a training step on a CPU beside the peak that ``mav cost`` computes, in float32.

    python benchmarks/step_memory.py temporal_tiny:16 temporal_small:1 temporal_small:1:full > step_memory.md

Each row is a process of its own: four steps with random weights, SGD with momentum, and a moving average.
Tensors are what PyTorch's allocator held at most, weights and states included; the process is by how much its memory
grew, which includes workspaces of libraries and what the C library keeps of freed memory.
"""

import argparse
import copy
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from mav_lightning.common.units import memory  # noqa: E402
from mav_lightning.config import instantiate, load_config  # noqa: E402
from mav_lightning.diffusion.denoiser import NetDenoiser  # noqa: E402
from mav_lightning.flops import network_cost, training_inputs  # noqa: E402

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def process_memory(field: str) -> int:
    """Return the bytes of this process: VmRSS now, or VmHWM at most since the peak was reset."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def warm_up() -> None:
    """Run the kinds of layers once, so that what libraries load is not counted."""
    layers = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.GroupNorm(2, 4), torch.nn.Linear(8, 8))
    layers(torch.zeros(1, 4, 8, 8)).sum().backward()


def measure(config: dict[str, Any], batch: int) -> tuple[int, int]:
    """Train four steps, and return the peak of the tensors and the growth of the process, in bytes."""
    warm_up()
    CLEAR.write_text("5")
    before = process_memory("VmRSS")
    torch.manual_seed(0)
    denoiser: NetDenoiser = instantiate(config["module"]["denoiser"])
    average = copy.deepcopy(denoiser).requires_grad_(False)
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=1e-4, momentum=0.9, foreach=False)
    of_clips = "frames" in config["data"].get("clips", config["data"])
    size, frames = config["module"].get("crop", config["size"]), config["frames"] if of_clips else None
    inputs = training_inputs(denoiser, size, frames, batch)

    def step() -> None:
        loss = denoiser(*inputs).x0.square().mean()
        optimizer.zero_grad()  # after the forward pass, as in Lightning
        loss.backward()
        optimizer.step()
        for mean, weight in zip(average.parameters(), denoiser.parameters(), strict=True):
            mean.lerp_(weight.detach(), 0.01)

    for _ in range(2):
        step()
    grown = process_memory("VmHWM") - before
    held = 3 * 4 * sum(weight.numel() for weight in denoiser.parameters())  # weights, average and momentum
    optimizer.zero_grad()  # the profiler does not see that memory is freed which it has not seen allocated
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
        step()
    return held + peak_of(record), grown


def peak_of(record: profile) -> int:
    """Return the most bytes that were allocated above those before the profiled work."""
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def row(case: str) -> str:
    """Return the row of STAGE:BATCH or STAGE:BATCH:MODE of activation checkpointing."""
    stage, batch, mode = (*case.split(":"), "off")[:3]
    config = load_config(f"stage/{stage}.yaml", extra={"module.denoiser.net.activation_checkpointing": mode})
    computed = network_cost(config, int(batch)).peak_bytes
    tensors, grown = measure(config, int(batch))
    return (
        f"| `{stage}` | {batch} | {mode} | {memory(computed)} | {memory(tensors)} | {computed / tensors:.2f} "
        f"| {memory(grown)} | {computed / grown:.2f} |"
    )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cases", nargs="+", help="STAGE:BATCH[:off|selective|full], for example temporal_small:1:full")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(row(options.cases[0]))
        return
    print("| stage | batch | checkpointing | `mav cost` | tensors | ratio | process | ratio |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    for case in options.cases:
        subprocess.run([sys.executable, __file__, case, "--alone"], check=True)


if __name__ == "__main__":
    main()
