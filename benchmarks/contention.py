"""Sampling and training on a machine that is idle, and beside another process that does the same.

    python benchmarks/contention.py > contention.md

As many threads as cores. Rows are ways in which threads of GNU OpenMP wait for each other: its default, the limit of
the command line, and a lower one. Columns are seconds for one clip of the ready-made cascade, all its networks, and for
a training step of a decoder of tiny size, in one process alone and in each of two at once; each is the median of
`ROUNDS` interleaved rounds. Two processes on the same cores need at least twice the time of one.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict

from mav_lightning.common.machine import SPINS

ROUNDS = 2
LIMIT = 120  # seconds; what takes longer is shown as such
STEPS = 8


def waits() -> dict[str, dict[str, str]]:
    """Return the environment of each row."""
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    rows = {f"GOMP_SPINCOUNT={spins}": others | {"GOMP_SPINCOUNT": spins} for spins in (SPINS, "1000")}
    return {"default": others} | rows


def measure() -> dict[str, float]:
    """Return the seconds of a clip and of a step, in this process."""
    import torch

    from mav_lightning.cascade.video_pipeline import Pipeline
    from mav_lightning.nn.unet import SpaceTimeUNet

    pipeline = Pipeline.from_pretrained()
    began = time.perf_counter()
    pipeline("a red circle", fps=8, seeds=0)
    clip = time.perf_counter() - began
    net = SpaceTimeUNet(channels=32, head_channels=8, cond_channels=64)
    optimizer = torch.optim.AdamW(net.parameters())
    inputs = torch.randn(16, 3, 9, 16, 16), torch.rand(16), torch.randn(16, 64), torch.full((16,), 8.0)
    for step in range(STEPS + 2):
        if step == 2:  # after the optimizer has made its states
            began = time.perf_counter()
        optimizer.zero_grad()
        net(*inputs).square().mean().backward()
        optimizer.step()
    return {"clip": clip, "step": (time.perf_counter() - began) / STEPS}


def at_once(processes: int, environment: dict[str, str]) -> list[dict[str, float]] | None:
    """Return what each of some simultaneous processes measures, or None if they take longer than `LIMIT`."""
    command = [sys.executable, __file__, "measure"]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(processes)]
    end = time.monotonic() + LIMIT
    try:
        return [json.loads(one.communicate(timeout=max(end - time.monotonic(), 0.1))[0]) for one in started]
    except subprocess.TimeoutExpired:
        return None
    finally:
        for one in started:
            one.kill()
            one.wait()


def main() -> None:
    """Measure all rows in turns and print the table."""
    found = defaultdict[tuple[str, int, str], list[float]](list)
    for _ in range(ROUNDS):
        for name, environment in waits().items():
            for processes in (1, 2):
                results = at_once(processes, environment) or [{"clip": float("inf"), "step": float("inf")}]
                for result in results:
                    for what, seconds in result.items():
                        found[name, processes, what].append(seconds)
    print("| threads wait | clip, s | two at once | step, s | two at once |\n|---|--:|--:|--:|--:|")
    for name in waits():
        cells = [statistics.median(found[name, number, what]) for what in ("clip", "step") for number in (1, 2)]
        print(f"| {name} | " + " | ".join(f"{x:.2f}" if x < LIMIT else f"> {LIMIT}" for x in cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        print(json.dumps(measure()))
    else:
        main()
