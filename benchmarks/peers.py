"""Training steps, sampling and memory of this U-Net beside those of other projects, at matched size.

    python benchmarks/peers.py --out peers.json > peers.md      # environment: benchmarks/requirements.txt

Networks are matched twice, by parameters and by FLOPs of a forward pass on 16 frames of 32×32 pixels. In one process,
all networks take turns at one step each, so that a change of the machine's speed hits all of them; a cell is the median
of the steps, with quartiles. Peak memory is that of a process of its own, less what it held before the first step.
"""

import gc
import importlib.metadata
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from peer_networks import PEERS, flops, matched, parameters
from torch import Tensor, nn

from mav_lightning.common.units import count, duration, memory, operations

SHAPES = {"8x16": (8, 16), "16x32": (16, 32), "16x64": (16, 64), "76x64": (76, 64), "16x256": (16, 256)}
MATCHED_AT = (16, 32)  # frames, pixels
OURS = "mav-lightning"
EMA = 0.999


class Training:
    """Forward pass, backward pass, AdamW and a moving average of the weights, the same for every network."""

    def __init__(self, net: nn.Module, clips: Tensor) -> None:
        self.net, self.clips, self.noise = net.train(), clips, torch.linspace(0.1, 0.9, len(clips), device=clips.device)
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=True)
        self.average = [parameter.detach().clone() for parameter in net.parameters()]

    def __call__(self) -> None:
        """Take one step."""
        loss = (self.net(self.clips, self.noise) - self.clips).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.net.parameters()], 1 - EMA)


class Sampling:
    """One denoising step without gradients; a clip takes as many as its sampler has steps."""

    def __init__(self, net: nn.Module, clips: Tensor) -> None:
        self.net, self.clips, self.noise = net.eval(), clips, torch.linspace(0.1, 0.9, len(clips), device=clips.device)

    @torch.inference_mode()
    def __call__(self) -> None:
        """Take one step."""
        self.net(self.clips, self.noise)


WORK: dict[str, Callable[[nn.Module, Tensor], Callable[[], None]]] = {"training": Training, "sampling": Sampling}


def build(name: str, match: str) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network, matched to this project's by parameters or by FLOPs, and describe it."""
    torch.manual_seed(0)
    measure = parameters if match == "parameters" else lambda net: flops(net, *MATCHED_AT)
    net, size = matched(PEERS[name], measure(PEERS[OURS].build(64, 64)), measure)
    size |= {"parameters": parameters(net), "flops": flops(net, *MATCHED_AT)}
    return net, size


def interleaved(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Time every network's steps in turn, in seconds, after one step that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def timings(names: list[str], match: str, shape: str, batch: int, work: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds per step of every network at one shape and batch."""
    frames, size = SHAPES[shape]
    clips = torch.randn(batch, 3, frames, size, size)
    return interleaved({name: WORK[work](build(name, match)[0], clips) for name in names}, rounds)


def peak(name: str, match: str, shape: str, batch: int, work: str) -> int:
    """Return the most memory of two steps in bytes, measured in a process of its own."""
    words = ["--alone", name, "--match", match, "--shape", shape, "--batch", str(batch), "--work", work]
    command = [sys.executable, __file__, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_here(name: str, match: str, shape: str, batch: int, work: str) -> int:
    """Return the most memory of two steps in bytes, above what this process held before."""
    frames, size = SHAPES[shape]
    net = build(name, match)[0]
    clips = torch.randn(batch, 3, frames, size, size)
    gc.collect()
    before = _resident()
    step = WORK[work](net, clips)
    step()
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def limit() -> dict[str, float]:
    """Return this machine's rate of float32 matrix products, in operations per second, and of copies, in bytes."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    large = torch.randn(64 * 2**20 // 4)
    out = torch.empty_like(large)
    product = statistics.median(interleaved({"": lambda: torch.mm(a, b, out=None)}, 20)[""])
    copy = statistics.median(interleaved({"": lambda: out.copy_(large)}, 20)[""])
    return {"flops": 2 * 1024**3 / product, "bytes": 2 * large.numel() * 4 / copy}


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    packages = sorted({"torch", *(peer.package for peer in PEERS.values())})
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "limit": limit(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def table(cells: list[dict[str, Any]], names: list[str], match: str, sizes: dict[str, Any], rate: float) -> str:
    """Render one match as Markdown: ratios to the peer first, then this project's own time and use of the machine."""
    lines = [
        f"Matched by {match}: "
        + "; ".join(
            f"{name} {count(sizes[name]['parameters'])}, {operations(sizes[name]['flops'])}"
            + (f" ({PEERS[name].note})" if PEERS[name].note else "")
            for name in names
        )
        + ".",
        "",
        "| work | clip | batch | " + " | ".join(name for name in names if name != OURS) + " | this project |",
        "|---" * (4 + len(names) - 1) + "|",
    ]
    for cell in cells:
        if cell["match"] != match:
            continue
        frames, size = SHAPES[cell["shape"]]
        own = cell["of"][OURS]
        ratios = [_ratio(cell["of"].get(name), own, cell["work"]) for name in names if name != OURS]
        columns = [cell["work"], f"{frames} × {size}²", str(cell["batch"]), *ratios, _own(cell, own, rate)]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _ratio(other: Any, own: Any, work: str) -> str:
    if other is None:
        return "–"
    if work == "memory":
        return f"{other / own:.2f}"
    pairs = sorted(theirs / mine for theirs, mine in zip(other, own, strict=True))
    low, high = pairs[len(pairs) // 4], pairs[(3 * len(pairs)) // 4]
    return f"{statistics.median(pairs):.2f} ({low:.2f}–{high:.2f})"


def _own(cell: dict[str, Any], own: Any, rate: float) -> str:
    if cell["work"] == "memory":
        return memory(own)
    seconds = statistics.median(own)
    return f"{duration(seconds)}, {100 * cell['flops'] / seconds / rate:.0f} % of matrix products"


def main(
    out: Annotated[Path | None, typer.Option(help="JSON file of all figures.")] = None,
    match: Annotated[list[str] | None, typer.Option(help="parameters or flops; both by default.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Frames x pixels; by default 8x16, 16x32 and 16x64.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Clips per step; by default 1 and 4.")] = None,
    work: Annotated[list[str] | None, typer.Option(help="training, sampling or memory; all by default.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Part of a peer's name; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="Steps of every network.")] = 9,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch.")] = 2,
    alone: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print tables of ratios: how many times this project's time or memory each peer takes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    if alone:
        assert match and shape and batch and work
        typer.echo(peak_here(alone, match[0], shape[0], batch[0], work[0]))
        return
    names = [name for name in PEERS if name == OURS or not peer or any(part in name for part in peer)]
    matches, works = match or ["parameters", "flops"], work or ["training", "sampling", "memory"]
    about, cells, sizes = machine(), [], {}
    for kind in matches:
        sizes[kind] = {name: build(name, kind)[1] for name in names}
        for clip in shape or ["8x16", "16x32", "16x64"]:
            for clips in batch or [1, 4]:
                for each in works:
                    cells.append(_cell(names, kind, clip, clips, each, rounds))
                    if out is not None:
                        out.write_text(json.dumps({"machine": about, "sizes": sizes, "cells": cells}, indent=1))
    rate = about["limit"]["flops"]
    typer.echo("\n\n".join(table(cells, names, kind, sizes[kind], rate) for kind in matches))


def _cell(names: list[str], match: str, shape: str, batch: int, work: str, rounds: int) -> dict[str, Any]:
    """Measure all networks at one shape."""
    cell: dict[str, Any] = {"match": match, "shape": shape, "batch": batch, "work": work}
    if work == "memory":
        return cell | {"of": {name: peak(name, match, shape, batch, "training") for name in names}}
    passes = 3 if work == "training" else 1  # the backward pass does about twice the work of the forward pass
    with torch.device("meta"):
        operations_per_step = passes * batch * flops(PEERS[OURS].build(64, 64), *SHAPES[shape])
    return cell | {"of": timings(names, match, shape, batch, work, rounds), "flops": operations_per_step}


if __name__ == "__main__":
    typer.run(main)
