"""``kill -9`` at random instants after a checkpoint, again and again, and comparison with an undisturbed training.

The training has the real reader with two worker processes, a frame-rate curriculum, an average of the weights,
gradient accumulation and TensorBoard; a small network stands in for the U-Net. Prints one JSON line.

    python tests/faults/random_kills.py --kills 50
    python tests/faults/random_kills.py --kills 50 --ranks 2
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

import torch  # noqa: E402
from lightning.pytorch import LightningModule  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from datamodules.batch import ClipBatch  # noqa: E402
from datamodules.datamodule import ClipData  # noqa: E402
from datamodules.fps_sampler import BetaFps  # noqa: E402
from datamodules.shapes_world_shards import WriteShapesWorld  # noqa: E402
from mav_lightning.common.log_names import board_run  # noqa: E402
from mav_lightning.training.checkpoint_io import checkpoint_step, checkpoints  # noqa: E402
from mav_lightning.training.fit import fit  # noqa: E402

EVERY = 2  # optimizer steps between two checkpoints


class SmallModule(LightningModule):
    """Denoising of 48 pixels, with dropout and noise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(48, 16), nn.SiLU(), nn.Dropout(0.3), nn.Linear(16, 48))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("loss/train", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        self.log("loss/val", self._loss(batch), batch_size=len(batch), sync_dist=True)

    def temporal_activity(self) -> dict[str, float]:
        return {"net": float(self.net[0].weight.detach().abs().mean())}

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: ClipBatch) -> Tensor:
        x = batch.pixels.float().reshape(len(batch), -1)[:, :48]
        noise = torch.randn(x.shape)
        loss: Tensor = (self.net(x + noise) + noise).square().mean() * (1 + batch.fps.float().mean() / 100)
        return loss


def write_data(root: Path) -> None:
    WriteShapesWorld(clips=48, images=4, val_clips=4, val_images=4, size=32, processes=1).run(root)


def train(root: Path, out: Path, steps: int, ranks: int) -> None:
    torch.set_num_threads(1)
    data = ClipData(root, 16, 3, BetaFps(4.0, 16.0, clips=400), batch_size=4 // ranks, workers=2)
    trainer = {"accelerator": "cpu", "accumulate_grad_batches": 2, "enable_progress_bar": False, "log_every_n_steps": 1}
    if ranks > 1:
        trainer |= {"devices": ranks, "strategy": "ddp"}
    fit(SmallModule(), data, out=out, steps=steps, checkpoint_every=EVERY, ema_decay=0.9, trainer=trainer)


def start(root: Path, out: Path, steps: int, ranks: int) -> list[int]:
    """Start the training in forked processes, and return their ids, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "NODE_RANK": "0"}
    return [_fork(root, out, steps, ranks, {**place, "LOCAL_RANK": str(rank)}) for rank in range(ranks)]


def _fork(root: Path, out: Path, steps: int, ranks: int, place: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(place | {"WORLD_SIZE": str(ranks)} if ranks > 1 else {})
        train(root, out, steps, ranks)
        code = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def newest(out: Path) -> int:
    found = checkpoints(out / "checkpoints")
    return checkpoint_step(found[0]) if found else 0


def kill_after_checkpoint(out: Path, pids: list[int], draw: random.Random, which: str) -> str:
    """Kill the training at a random instant after its next checkpoint; return what became of it."""
    before, began = newest(out), time.monotonic()
    while newest(out) == before:
        if (ended := os.waitpid(pids[0], os.WNOHANG))[0]:
            for pid in pids[1:]:
                os.waitpid(pid, 0)
            return "finished" if ended[1] == 0 else "failed"
        assert time.monotonic() - began < 300, "no checkpoint in 300 s"
        time.sleep(0.002)
    step = (time.monotonic() - began) / EVERY
    time.sleep(draw.uniform(0, EVERY * min(step, 0.5)))
    victims = {"all": pids, "first": pids[:1], "last": pids[-1:]}[which]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]  # those left over end by themselves
    return "finished" if codes[0] == 0 else f"killed {which}"


def state(out: Path) -> dict[str, Any]:
    """Return the last checkpoint without the time that it took, and Lightning's counts of validations."""
    saved: dict[str, Any] = torch.load(checkpoints(out / "checkpoints")[0], weights_only=True)
    del saved["callbacks"]["Cost"], saved["loops"]["validate_loop"]
    loop = saved["loops"]["fit_loop"]
    saved["loops"]["fit_loop"] = {k: v for k, v in loop.items() if "val_loop" not in k}
    return saved


def board(out: Path) -> dict[str, list[Any]]:
    """Return tag → steps and values, as TensorBoard shows them."""
    events = EventAccumulator(str(board_run(out)), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    shown = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for tag in events.Tags()["histograms"]:
        shown[tag] = [(e.step, tuple(e.histogram_value.bucket)) for e in events.Histograms(tag)]
    return shown


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two nested states differ, in any bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [d for key in keys for d in differences(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [d for i, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f"{where}[{i}]")]
    return [] if type(one) is type(other) and one == other else [where]


def compare(out: Path, reference: Path) -> list[str]:
    found = differences(state(out), state(reference), "checkpoint")
    found += differences(board(out), board(reference), "TensorBoard")
    same = (out / "weights.safetensors").read_bytes() == (reference / "weights.safetensors").read_bytes()
    return found + ([] if same else ["weights.safetensors"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, counts, found, runs = random.Random(options.seed), Counter[str](), list[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        root, reference = Path(folder, "shards"), Path(folder, "reference")
        write_data(root)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in start(root, reference, options.steps, options.ranks)), (
            reference.with_suffix(".log").read_text()
        )
        while sum(count for ending, count in counts.items() if ending.startswith("killed")) < options.kills:
            runs, out, ending = runs + 1, Path(folder, f"run{runs}"), ""
            while ending != "finished":
                which = draw.choice(["all", "first", "last"]) if options.ranks > 1 else "all"
                ending = kill_after_checkpoint(out, start(root, out, options.steps, options.ranks), draw, which)
                counts[ending] += 1
                assert ending != "failed", out.with_suffix(".log").read_text()
            found += [f"run{runs}: {difference}" for difference in compare(out, reference)]
            print(dict(counts), len(found), file=sys.stderr, flush=True)
    print(json.dumps({"ranks": options.ranks, "runs": runs, "endings": counts, "differences": found}))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
