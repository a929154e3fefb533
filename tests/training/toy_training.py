"""A training small enough to be run, killed and continued dozens of times: the stand-in for modules and readers.

Run as a script by tests that need real processes: ``toy_training.py OUT '{"steps": …}' [--fault NAME STEP RANK]``.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer  # noqa: E402

from mav_lightning.common import whole_file  # noqa: E402
from mav_lightning.common.stop_signals import STOP_SIGNALS  # noqa: E402
from mav_lightning.training import checkpoint_io, rank_watch, signals  # noqa: E402
from mav_lightning.training.checkpointer import Checkpointer  # noqa: E402
from mav_lightning.training.fit import fit  # noqa: E402

BATCHES = 5  # in an epoch: few, so that tests meet its end from every side
BATCH_SIZE = 4
FEATURES = 6


class ToyBatch:
    """A typed batch: x is (B, 6), fps is (B,)."""

    def __init__(self, x: Tensor, key: list[str]) -> None:
        self.x, self.key, self.fps = x, key, x[:, 0].abs() * 10 + 1

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device, **kwargs: Any) -> "ToyBatch":
        return self


class ToyLoader:
    """Batches as a pure function of how many came before; its state is that number."""

    def __init__(self, rank: int = 0, ranks: int = 1, batches: int = BATCHES) -> None:
        self.rank, self.ranks, self.batches, self.step = rank, ranks, batches, 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[ToyBatch]:
        while True:
            number = self.step * self.ranks + self.rank
            self.step += 1
            x = torch.randn(BATCH_SIZE, FEATURES, generator=torch.Generator().manual_seed(number))
            yield ToyBatch(x, [f"{number}-{i}" for i in range(BATCH_SIZE)])
            if self.step % self.batches == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


class ToyValLoader:
    """Four samples, always the same: every R-th one on each of R processes, in batches of two at most."""

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        self.mine = list(range(4))[rank::ranks]

    def __len__(self) -> int:
        return -(-len(self.mine) // 2)

    def __iter__(self) -> Iterator[ToyBatch]:
        parts = [self.mine[start : start + 2] for start in range(0, len(self.mine), 2)]
        x = torch.arange(4.0)[:, None] * torch.ones(FEATURES)
        return iter([ToyBatch(x[part], [str(number) for number in part]) for part in parts])


class ToyData(LightningDataModule):
    """Train batches that depend on the rank, and two validation batches.

    Args:
        scale: Counts only as a setting of the data.
        batches: In an epoch, on each process.
    """

    def __init__(self, scale: float = 1.0, batches: int = BATCHES) -> None:
        super().__init__()
        self.scale, self.batches = scale, batches

    def train_dataloader(self) -> ToyLoader:
        assert self.trainer is not None
        return ToyLoader(self.trainer.global_rank, self.trainer.world_size, self.batches)

    def val_dataloader(self) -> "ToyValLoader":
        assert self.trainer is not None
        return ToyValLoader(self.trainer.global_rank, self.trainer.world_size)


class ToyModule(LightningModule):
    """A denoiser in miniature: noise and dropout draw on torch's generator, and a buffer counts in integers.

    Args:
        nan_steps: Batches, counted over the run, whose loss is not a number.
        width: Of the hidden layer.
        lr: Learning rate.
        dropout: Fraction of hidden units dropped.
    """

    def __init__(self, nan_steps: tuple[int, ...] = (), width: int = 8, lr: float = 0.01, dropout: float = 0.3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.nan_steps, self.lr = nan_steps, lr
        self.net = nn.Sequential(nn.Linear(FEATURES, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, FEATURES))
        self.frozen = nn.Linear(FEATURES, FEATURES).requires_grad_(False)
        self.register_buffer("timesteps", torch.arange(1000))

    def _loss(self, batch: ToyBatch) -> Tensor:
        noise = torch.randn(batch.x.shape)
        return (self.net(batch.x + noise) + noise).square().mean()

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        if self.trainer.fit_loop.total_batch_idx in self.nan_steps:
            loss = loss * float("nan")
        self.log("loss/train", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ToyBatch, batch_idx: int) -> None:
        self.log("loss/val", self._loss(batch), batch_size=len(batch), sync_dist=True)

    def temporal_activity(self) -> dict[str, float]:
        return {"net": float(self.net[0].weight.detach().abs().mean())}

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class LastRankFails(ToyModule):
    """Has a loss that is not a number on the last rank alone, with finite gradients; keeps the weights of each rank."""

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        last = self.trainer.global_rank == self.trainer.world_size - 1
        return loss + float("nan") if last and self.trainer.fit_loop.total_batch_idx in self.nan_steps else loss

    def on_train_end(self) -> None:
        torch.save(self.state_dict(), Path(self.trainer.default_root_dir, f"rank-{self.trainer.global_rank}.pt"))


class Trace(Callback):
    """Appends one line per training batch, of every rank: number, epoch, keys, learning rate, loss."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        line = [trainer.fit_loop.total_batch_idx, trainer.current_epoch, batch.key[0], rate, float(outputs["loss"])]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f"trace-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


class At(Callback):
    """Calls `action` in one hook once `step` optimizer steps are done."""

    def __init__(self, hook: str, step: int, action: Callable[[], None], rank: int = 0) -> None:
        self.step, self.action, self.rank = step, action, rank
        setattr(self, hook, self._run)

    def _run(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank and not trainer.sanity_checking:
            self.action()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise RuntimeError("on purpose")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def hang(number: int, again_after: float | None = None) -> None:
    """Send a signal and wait as for a lost rank: in a call that no signal interrupts, with no handler of Python run."""
    signals.GRACE = 1.0 if again_after is None else 60.0
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
    send(number)()
    if again_after is not None:
        threading.Timer(again_after, send(number)).start()
    ctypes.CDLL(None).sleep(50)


def suspend() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def fill_disk() -> None:
    """From now on the system refuses to write files of more than 10 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))


def kill_in_save(moment: str, step: int) -> None:
    """Arms a kill in the middle of writing the checkpoint of `step`."""
    name = f"step-{step:08d}"  # and the number of a part if it is sharded

    def when(module: Any, function: str, hit: Callable[..., bool]) -> None:
        real = getattr(module, function)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if hit(*args):
                kill()
            return real(*args, **kwargs)

        setattr(module, function, wrapped)

    if moment == "written":  # all bytes are there, under the temporary name
        when(checkpoint_io, "_sha256", lambda path: path.name.startswith(f".{name}") and path.suffix == ".partial")
    elif moment == "half":  # some bytes are there
        real_save = torch.save

        def half(value: Any, path: Path) -> None:
            real_save(value, path)
            if path.name.startswith(f".{name}") and path.suffix == ".partial":
                os.truncate(path, path.stat().st_size // 2)
                kill()

        checkpoint_io.torch.save = half  # type: ignore[assignment]
    elif moment == "sidecar":  # the checksum has its name, the checkpoint not yet
        when(whole_file.os, "replace", lambda source, target: Path(target).match(f"{name}*.ckpt"))
    else:
        raise ValueError(moment)


def kill_after_save(step: int) -> None:
    """Arms a kill between the checkpoint of `step` and whatever follows."""
    save = Checkpointer._save

    def saved(checkpointer: Checkpointer, trainer: Trainer, *args: Any) -> None:
        save(checkpointer, trainer, *args)
        if trainer.global_step == step:
            checkpointer._writer.wait()
            kill()

    Checkpointer._save = saved  # type: ignore[method-assign]


FAULTS = {
    "kill-in-step": lambda step, rank: At("on_before_optimizer_step", step, kill, rank),
    "kill-after-step": lambda step, rank: At("on_train_batch_end", step, kill, rank),
    "kill-in-validation": lambda step, rank: At("on_validation_batch_start", step, kill, rank),
    "fail-in-validation": lambda step, rank: At("on_validation_batch_start", step, fail, rank),
    "term-in-step": lambda step, rank: At("on_before_optimizer_step", step, terminate, rank),
    "interrupt-in-step": lambda step, rank: At("on_before_optimizer_step", step, interrupt, rank),
    "hup-in-step": lambda step, rank: At("on_before_optimizer_step", step, send(signal.SIGHUP), rank),
    "usr1-in-step": lambda step, rank: At("on_before_optimizer_step", step, send(signal.SIGUSR1), rank),
    "usr2-in-step": lambda step, rank: At("on_before_optimizer_step", step, send(signal.SIGUSR2), rank),
    "term-in-hang": lambda step, rank: At("on_before_optimizer_step", step, partial(hang, signal.SIGTERM), rank),
    "interrupt-twice": lambda step, rank: At("on_before_optimizer_step", step, partial(hang, signal.SIGINT, 1.0), rank),
    "suspend-in-step": lambda step, rank: At("on_before_optimizer_step", step, suspend, rank),
    "disk-full": lambda step, rank: At("on_before_optimizer_step", step, fill_disk, rank),
    "term-in-validation": lambda step, rank: At("on_validation_batch_start", step, terminate, rank),
}


def run(
    out: Path,
    fault: str = "",
    at: int = -1,
    rank: int = 0,
    module: ToyModule | None = None,
    data: ToyData | None = None,
    extra: Sequence[Callback] = (),
    env: Mapping[str, str] = MappingProxyType({}),
    trace: bool = True,
    build: Callable[[], ToyModule] = ToyModule,
    **kwargs: Any,
) -> None:
    """Trains the toy in `out`, with a fault at optimizer step `at` if one is named.

    Ranks each `build` their module: the weights of one that they are sent would be the same memory for all of them.
    """
    torch.set_num_threads(1)
    os.environ.update(env)
    for number in STOP_SIGNALS:  # a shell in the background, or nohup, has its children ignore some
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    callbacks: list[Callback] = [*([Trace(out / "trace")] if trace else []), *extra]
    if fault == "kill-after-save":
        kill_after_save(at)
    elif fault.startswith("save-"):
        if int(env.get("LOCAL_RANK", 0)) == rank:
            kill_in_save(fault.removeprefix("save-"), at)
    elif fault:
        rank_watch.LOST = 3.0 if fault == "suspend-in-step" else rank_watch.LOST
        callbacks.append(FAULTS[fault](at, rank))
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, **kwargs.pop("trainer", {})}
    arguments = {"steps": 23, "checkpoint_every": 4, "ema_decay": 0.9, "logger": False, **kwargs}
    fit(module or build(), data or ToyData(), out=out, trainer=trainer, callbacks=callbacks, **arguments)


if __name__ == "__main__":
    run(Path(sys.argv[1]), **json.loads(sys.argv[2]))
