"""What the guards of a training cost per step: processor time with and without them, in one training.

Trains the U-Net of a stage on random clips. Every second step leaves out the hooks of a guard, or of all; the
lower quartiles of the steps with and without are compared. On a busy machine these vary by milliseconds, so the time
within the hooks is printed, too; it leaves out what a guard does to the calls of others. Prints a Markdown table.

    python benchmarks/guards.py --rounds 20
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from mav_lightning.config import instantiate, load_config  # noqa: E402
from mav_lightning.training.checkpointer import Checkpointer  # noqa: E402
from mav_lightning.training.ema import EMA  # noqa: E402
from mav_lightning.training.finite import FiniteGuard  # noqa: E402
from mav_lightning.training.fit import fit  # noqa: E402
from mav_lightning.training.metric_log import MetricLog  # noqa: E402
from mav_lightning.training.rng import SeedEveryBatch  # noqa: E402
from mav_lightning.training.spikes import SpikeRecord  # noqa: E402

GUARDS: dict[str, tuple[type[Callback], tuple[str, ...]]] = {
    "draws by sample": (SeedEveryBatch, ("on_train_batch_start", "on_train_batch_end")),
    "check for non-finite steps": (
        FiniteGuard,
        ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step"),
    ),
    "record of spikes": (SpikeRecord, ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step")),
    "average of the weights": (EMA, ("on_step_end",)),
    "curves": (MetricLog, ("on_step_end",)),
    "signals": (Checkpointer, ("on_step_end",)),
}
ALL = "all"
WARM_UP = 4


class Network(LightningModule):
    """The U-Net of a stage, which restores noise."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = load_config(stage)
        self.network = instantiate(self.config["module"]["denoiser"]).net

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss."""
        n = len(batch)
        noisy = batch + torch.randn_like(batch)
        out = self.network(noisy, torch.zeros(n), torch.zeros(n, 64), torch.full((n,), 8.0))
        loss: Tensor = (out - batch).square().mean()
        self.log("loss/train", loss, batch_size=n)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


class Clips(LightningDataModule):
    """Random clips."""

    def __init__(self, batch_size: int, frames: int, size: int) -> None:
        super().__init__()
        self.batch_size, self.shape = batch_size, (3, frames, size, size)

    def train_dataloader(self) -> Any:
        """Return batches of the same clips, again and again."""
        return torch.utils.data.DataLoader(torch.randn(8 * self.batch_size, *self.shape), self.batch_size)


class Interleaved(Callback):
    """Times each step, and tells for the next one which guard is left out."""

    def __init__(self) -> None:
        self.left_out = ""
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.within: dict[str, list[float]] = defaultdict(list)
        self.spent: dict[str, float] = defaultdict(float)
        self._order = [name for one in (*GUARDS, ALL) for name in ("", one)]
        self._began = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End a step, after all other callbacks but the checkpoints'."""
        now = time.process_time()
        if trainer.global_step > WARM_UP:
            self.seconds[self.left_out].append(now - self._began)
            if not self.left_out:
                for name in GUARDS:
                    self.within[name].append(self.spent[name])
        self.spent.clear()
        self.left_out = self._order[trainer.global_step % len(self._order)]
        self._began = time.process_time()


def switch(guard: type[Callback], hook: str, name: str, timer: Interleaved) -> None:
    """Leave out a hook of a guard where the timer wants that."""
    real: Callable[..., Any] = getattr(guard, hook)

    def maybe(*args: Any, **kwargs: Any) -> Any:
        if timer.left_out in (name, ALL):
            return None
        began = time.thread_time()
        try:
            return real(*args, **kwargs)
        finally:
            timer.spent[name] += time.thread_time() - began

    setattr(guard, hook, maybe)


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", default="stage/temporal_tiny.yaml")
    parser.add_argument("--rounds", type=int, default=8, help="steps without each guard")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    timer = Interleaved()
    for name, (guard, hooks) in GUARDS.items():
        for hook in hooks:
            switch(guard, hook, name, timer)
    module = Network(options.stage)
    clips = Clips(options.batch_size, module.config["frames"], module.config["size"])
    steps = WARM_UP + 1 + options.rounds * 2 * (len(GUARDS) + 1)
    with tempfile.TemporaryDirectory() as folder:
        settings: Any = {"checkpoint_every": 10 * steps, "callbacks": [timer], "logger": "csv"}
        trainer = {"accelerator": "cpu", "enable_progress_bar": False}
        fit(module, clips, out=folder, steps=steps, trainer=trainer, **settings)
    # the lower quartile: what else a machine does makes steps longer, never shorter
    typical = {name: statistics.quantiles(seconds)[0] for name, seconds in timer.seconds.items()}
    whole = typical.pop("")
    print(f"step: {1000 * whole:.1f} ms of processor time, {torch.get_num_threads()} threads\n")
    within = {name: statistics.quantiles(timer.within[name])[0] for name in GUARDS}
    within[ALL] = sum(within.values())
    print(
        "| guard | ms, with and without | share of a step | ms in its hooks | share of a step |\n|---|--:|--:|--:|--:|"
    )
    for name in (*GUARDS, ALL):
        difference, own = whole - typical[name], within[name]
        print(f"| {name} | {1000 * difference:.2f} | {difference / whole:.2%} | {1000 * own:.2f} | {own / whole:.2%} |")


if __name__ == "__main__":
    sys.exit(main())
