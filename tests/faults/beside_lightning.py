"""The same faults in a training with plain Lightning and in one with this project, and what each of them lost.

    python tests/faults/beside_lightning.py

Both train the module of `random_kills.py` on its data, with an average of the weights, TensorBoard and a checkpoint
every second step. Plain Lightning has what it brings for that: `ModelCheckpoint` with a ``last.ckpt`` in a fixed
folder, `EMAWeightAveraging`, `TensorBoardLogger`, `seed_everything` and ``ckpt_path="last"``. An interrupted training
is started again, and compared with an undisturbed one of its own kind. Prints a Markdown table of what was seen. Only
root can mount the small disk that is filled.
"""

import argparse
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

import torch  # noqa: E402
from lightning.pytorch import Trainer, seed_everything  # noqa: E402
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint  # noqa: E402
from lightning.pytorch.loggers import TensorBoardLogger  # noqa: E402
from random_kills import EVERY, SmallModule, board, differences, write_data  # noqa: E402
from soak import fill, small_disk  # noqa: E402
from torch import Tensor  # noqa: E402

from datamodules.batch import ClipBatch  # noqa: E402
from datamodules.datamodule import ClipData  # noqa: E402
from datamodules.fps_sampler import BetaFps  # noqa: E402
from mav_lightning.common.errors import UserError  # noqa: E402
from mav_lightning.training.fit import fit  # noqa: E402

STEPS, ACCUMULATED, BAD_STEP = 10, 2, 7
WRITES, WRITE_SECONDS, BALLAST = 10, 0.5, 64  # kills, seconds after a write has begun, MiB of a checkpoint
ORDINARY = {"accelerator": "cpu", "accumulate_grad_batches": ACCUMULATED, "enable_progress_bar": False}
FORK = multiprocessing.get_context("fork")


class Module(SmallModule):
    """A small denoiser.

    Args:
        lr: Learning rate.
        nan: Whether one step has a loss that is not a number.
        ballast: Size of a buffer that nothing reads, in MiB; it makes checkpoints take longer.
    """

    def __init__(self, lr: float = 0.01, nan: bool = False, ballast: int = 0) -> None:
        super().__init__()
        self.lr, self.nan = lr, nan
        if ballast:
            self.register_buffer("ballast", torch.zeros(ballast << 18))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        bad = self.nan and self.trainer.fit_loop.total_batch_idx == ACCUMULATED * BAD_STEP
        return loss * float("nan") if bad else loss

    def configure_optimizers(self) -> dict[str, Any]:
        made = super().configure_optimizers()
        for group in made["optimizer"].param_groups:
            group["lr"] = group["initial_lr"] = self.lr
        made["lr_scheduler"]["scheduler"].base_lrs = [self.lr]
        return made


def plain(out: Path, module: Module, data: ClipData) -> None:
    """Train with plain Lightning."""
    seed_everything(0, workers=True)
    callbacks = [ModelCheckpoint(out / "checkpoints", every_n_train_steps=EVERY, save_last=True), EMAWeightAveraging()]
    trainer = Trainer(
        **ORDINARY,
        max_steps=STEPS,
        log_every_n_steps=1,
        val_check_interval=EVERY * ACCUMULATED,
        check_val_every_n_epoch=None,
        callbacks=callbacks,
        logger=TensorBoardLogger(out / "tensorboard", "run", version=""),
    )
    trainer.fit(module, data, ckpt_path="last")


def ours(out: Path, module: Module, data: ClipData) -> None:
    """Train with this project."""
    options = {**ORDINARY, "log_every_n_steps": 1}
    fit(module, data, out=out, steps=STEPS, checkpoint_every=EVERY, trainer=options)


class Side:
    """Trainings of one kind, each in a folder of its own.

    Args:
        train: `plain` or `ours`.
        folder: Folder of everything.
    """

    def __init__(self, train: Callable[[Path, Module, ClipData], None], folder: Path) -> None:
        self.train, self.root, self.folder = train, folder / "shards", folder / train.__name__
        self.reference = self.new("undisturbed")
        assert self.end(self.start(self.reference)) == 0, log_of(self.reference).read_text()

    def new(self, name: str) -> Path:
        """Return the folder of a training that has not begun."""
        self.folder.mkdir(exist_ok=True)
        return self.folder / name

    def start(self, out: Path, low: float = 4.0, temporary: str | None = None, **module: Any) -> Any:
        """Start a training in a process of its own, perhaps with another folder for temporary files."""

        def run() -> None:
            tempfile.tempdir = temporary or tempfile.tempdir
            log = os.open(log_of(out), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            data = ClipData(self.root, 16, 3, BetaFps(low, 16.0, clips=400), batch_size=2, workers=0)
            try:
                self.train(out, Module(**module), data)
            except UserError as error:
                print(error)
                sys.exit(2)
            except Exception:
                traceback.print_exc()
                sys.exit(1)

        process = FORK.Process(target=run)
        process.start()
        return process

    def end(self, process: Any) -> int:
        process.join(300)
        assert process.exitcode is not None, "still running after 300 s"
        return int(process.exitcode)

    def interrupted(self, out: Path, step: int, number: int = signal.SIGKILL, **settings: Any) -> int:
        """Train until there is a checkpoint of a step or a later one, send a signal, and return the exit code."""
        process = self.start(out, **settings)
        while newest(out)[0] < step and process.is_alive():
            time.sleep(0.005)
        time.sleep(0.05)
        if process.is_alive():
            os.kill(process.pid, number)
        return self.end(process)

    def losses(self, out: Path) -> str:
        """Return what differs from the undisturbed training."""
        mine, theirs = state(out), state(self.reference)
        lost = [name for name in mine if differences(mine[name], theirs[name])]
        return ", ".join([f"other {name}" for name in lost] + holes(out, self.reference)) or "the same bits and curves"


def log_of(out: Path) -> Path:
    return out.with_suffix(".log")


def newest(out: Path) -> tuple[int, Path]:
    """Return step and file of the newest checkpoint; 0 without one."""
    found = [(int(re.findall(r"step[-=](\d+)", path.name)[0]), path) for path in out.glob("checkpoints/*step*.ckpt")]
    return max(found, default=(0, out))


def state(out: Path) -> dict[str, Any]:
    """Return the parts of the newest checkpoint."""
    saved = torch.load(newest(out)[1], weights_only=True)
    average = saved["callbacks"].get("EMA") or saved["state_dict"]
    weights = saved.get("current_model_state", saved["state_dict"])
    return {
        "weights": {name: weight for name, weight in weights.items() if name != "ballast"},
        "average": average,
        "optimizer": [saved["optimizer_states"], saved["lr_schedulers"]],
        "position in the data": saved["loops"]["fit_loop"]["state_dict"]["combined_loader"],
    }


def points(out: Path) -> dict[tuple[str, int], list[Any]]:
    """Return (tag, step) → values of that point, more than one if it is there twice."""
    found: dict[tuple[str, int], list[Any]] = {}
    for tag in ("loss/train", "loss/val"):
        for step, value in board(out).get(tag, []):
            found.setdefault((tag, step), []).append(value)
    return found


def holes(out: Path, reference: Path) -> list[str]:
    mine, theirs = points(out), points(reference)
    counts = {
        "missing": len(theirs.keys() - mine),
        "doubled": sum(len(values) > len(theirs.get(point, [0])) for point, values in mine.items()),
        "with another value": sum(values[-1] != theirs[point][-1] for point, values in mine.items() if point in theirs),
    }
    return [f"{count} of {len(theirs)} points of curves {what}" for what, count in counts.items() if count]


def message(out: Path) -> str:
    """Return the last line of a training's log."""
    return log_of(out).read_text().strip().splitlines()[-1].replace(str(out), "OUT").replace("|", "/")[:160]


def ended(side: Side, out: Path, code: int) -> str:
    return side.losses(out) if code == 0 else f"exit {code}: {message(out)}"


def killed(side: Side) -> str:
    out = side.new("killed")
    for step in (2, 4, 6):
        assert side.interrupted(out, step) == -signal.SIGKILL
    return ended(side, out, side.end(side.start(out)))


def killed_in_writes(side: Side) -> str:
    """Kill trainings at a random instant after a file of their next checkpoint has appeared or grown.

    The temporary folder is on another disk, as ``/tmp`` often is: Lightning writes there and then copies.
    """
    draw, seen = random.Random(0), Counter[str]()
    for number in range(WRITES):
        out = side.new(f"write{number}")
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
            settings = {"temporary": place, "ballast": BALLAST}
            process = side.start(out, **settings)
            while newest(out)[0] < 4:
                time.sleep(0.005)
            before = files(out, place)
            while files(out, place) <= before and process.is_alive():
                time.sleep(0.001)
            time.sleep(draw.uniform(0, WRITE_SECONDS))
            process.kill()
            side.end(process)
            seen[ended(side, out, side.end(side.start(out, **settings)))] += 1
        shutil.rmtree(out)
    return "; ".join(f"{count} times {what}" for what, count in seen.most_common())


def files(out: Path, place: str) -> set[tuple[str, int]]:
    """Return names and sizes of files of checkpoints, complete or not."""
    found = set()
    for path in [*(out / "checkpoints").glob("*"), *Path(place).glob("*")]:
        try:
            found.add((path.name, path.stat().st_size))
        except FileNotFoundError:
            continue
    return found


def other_config(side: Side, **change: Any) -> str:
    out = side.new("other-" + "-".join(change))
    side.interrupted(out, 6)
    code = side.end(side.start(out, **change))
    if code:
        return f"exit {code}: {message(out)}"
    rate = torch.load(newest(out)[1], weights_only=True)["optimizer_states"][0]["param_groups"][0]["initial_lr"]
    return f"exit 0 without a word of it; learning rate at the end: {rate:g}"


def disk_full(side: Side) -> str:
    """Fill the disk of a training after a checkpoint, then free it."""
    with small_disk(out := side.new("disk")):
        if not out.is_mount():
            return "not tried: no disk can be mounted here"
        process = side.start(out)
        while newest(out)[0] < 4:
            time.sleep(0.005)
        fill(out / "filler")
        code = side.end(process)
        first = f"exit {code}" + (f": {message(out)}" if code else "")
        (out / "filler").unlink()
        return f"{first}; again: {ended(side, out, side.end(side.start(out)))}"


def two_at_once(side: Side) -> str:
    out = side.new("two")
    processes = [side.start(out), side.start(out)]
    codes = sorted(side.end(process) for process in processes)
    return f"exit {codes[0]} and {codes[1]}: {side.losses(out)}"


def damaged(side: Side, how: str) -> str:
    out = side.new(f"damaged-{how}")
    side.interrupted(out, 6)
    file = out / "checkpoints" / "last.ckpt"
    file = file if file.exists() else newest(out)[1]
    content = bytearray(file.read_bytes())
    weight = torch.load(file, weights_only=True)["state_dict"]["net.0.weight"].numpy().tobytes()
    if how == "flipped":
        content[content.index(weight) + 3] ^= 0x04
    file.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    return ended(side, out, side.end(side.start(out)))


def not_finite(side: Side) -> str:
    out = side.new("nan")
    code = side.end(side.start(out, nan=True))
    weights = state(out)["weights"].values()
    return f"exit {code}, weights {'finite' if all(map(all_finite, weights)) else 'not finite'} at the end"


def all_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def terminated(side: Side) -> str:
    out = side.new("terminated")
    code = side.interrupted(out, 4, signal.SIGTERM)
    done = max(step for _, step in points(out)) + 1
    saved = newest(out)[0]
    again = side.end(side.start(out))
    return f"exit {code}, checkpoint of step {saved} of {done}; again: {ended(side, out, again)}"


FAULTS: dict[str, Callable[[Side], str]] = {
    "`kill -9` after a checkpoint, 3 times": killed,
    "a loss that is NaN at one step": not_finite,
    "SIGTERM": terminated,
    "resumed with another learning rate": lambda side: other_config(side, lr=0.03),
    "resumed with other frame rates": lambda side: other_config(side, low=8.0),
    "a bit of a weight flipped in the newest checkpoint": lambda side: damaged(side, "flipped"),
    "the newest checkpoint cut": lambda side: damaged(side, "cut"),
    "two trainings in one folder": two_at_once,
    "the disk is full, then free again": disk_full,
    f"`kill -9` within {WRITE_SECONDS} s after a write of a checkpoint began, {WRITES} trainings": killed_in_writes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="faults with this word in their names")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "shards")
        sides = [Side(plain, folder), Side(ours, folder)]
        print("| fault | plain Lightning | here |\n|---|---|---|")
        for fault, inject in ((fault, inject) for fault, inject in FAULTS.items() if options.only in fault):
            print(f"| {fault} | {' | '.join(inject(side) for side in sides)} |", flush=True)


if __name__ == "__main__":
    main()
