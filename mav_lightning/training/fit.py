"""One training from start to weights; the same command continues it after any kill, bit for bit."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils import deterministic

from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.common.whole_file import remove_partial_files
from mav_lightning.modules.base import NetworkModule
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, checkpoint_step, newest_checkpoint
from mav_lightning.training.checkpointer import Checkpointer
from mav_lightning.training.ema import EMA, state_dict_copy
from mav_lightning.training.finite import FiniteGuard
from mav_lightning.training.progress_bar import TrainingProgress
from mav_lightning.training.quiet import quiet_lightning
from mav_lightning.training.resume import refuse_other_run
from mav_lightning.training.rng import SeedEveryBatch
from mav_lightning.training.tensorboard import FpsHistogram, PlayingClips, TemporalActivity
from mav_lightning.training.timing import Cost
from mav_lightning.training.weights import is_finished, write_results

__all__ = ["fit"]

# Trainer arguments that belong to the run itself → the argument of `fit` that speaks for them.
OWNED = {
    "max_steps": "steps",
    "min_steps": "steps",
    "max_epochs": "steps",
    "min_epochs": "steps",
    "default_root_dir": "out",
    "callbacks": "callbacks",
    "logger": "logger",
    "plugins": "checkpoint_every",
    "enable_checkpointing": "checkpoint_every",
}


def fit(
    module: LightningModule,
    data: LightningDataModule,
    *,
    out: str | Path,
    steps: int,
    checkpoint_every: int = 500,
    ema_decay: float | None = 0.999,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    logger: bool | Logger = True,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Trains `module` on `data` for `steps` optimizer steps, from the newest good checkpoint in `out` if there is one.

    The result is a function of the arguments and of the module's initial weights: killed at any moment and called
    again, with the same arguments, it ends with the same bits on the same machine type and thread count. A finished
    run is left as it is. Writes ``out/checkpoints``, ``out/tensorboard``, and at the end ``out/weights.safetensors``
    (the state dict of a `NetworkModule`'s network, else of the whole module) and ``out/cost.json``, see `Cost.summary`.

    Args:
        module: Logs its loss as ``train/loss``. Its initial weights and its learning-rate schedule are its own affair.
        data: The train loader needs ``__len__`` (batches in an epoch), ``state_dict`` and ``load_state_dict``.
        out: Folder of this run alone.
        steps: Optimizer steps of the whole run, restarts included.
        checkpoint_every: Optimizer steps between two checkpoints, and between two validations unless `trainer` has
            ``val_check_interval``.
        ema_decay: Of the average that is validated and written as the result; None for the trained weights as they are.
        seed: Of the noise drawn in training and validation steps, not negative.
        trainer: Any other arguments of `lightning.Trainer`: accelerator, strategy, precision, … One device unless
            ``devices`` says more.
        logger: True for TensorBoard, False for none, or a logger.
        callbacks: More of them. A progress bar among them takes the place of ours.

    Raises:
        UserError: An argument out of range or not to be set here; `out` holds another run; the disk is full; the loss
            stays non-finite.
        SystemExit: 143 after SIGTERM, 130 after Ctrl-C, once the checkpoint is written.
    """
    out, options = Path(out), dict(trainer or {})
    _check(out, options, steps=steps, checkpoint_every=checkpoint_every, seed=seed)
    for folder in (out, out / "checkpoints"):
        rank_zero_only(remove_partial_files)(folder)

    newest = newest_checkpoint(out / "checkpoints")
    cost, ema = Cost(), None if ema_decay is None else EMA(ema_decay)
    checkpointer = Checkpointer(out / "checkpoints", checkpoint_every)
    # EMA stands before what samples in validation; Lightning itself moves the checkpointer to the end.
    own = [cost, SeedEveryBatch(seed), *([ema] if ema else []), FiniteGuard(), FpsHistogram(checkpoint_every)]
    own += [TemporalActivity(max(checkpoint_every // 5, 1)), PlayingClips(), checkpointer]
    if options.get("enable_progress_bar", True) and not any(isinstance(one, ProgressBar) for one in callbacks):
        own.append(TrainingProgress())

    # a debugging aid of torch that would cost some per cent
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with quiet_lightning():
        run = Trainer(
            **_with_defaults(options, checkpoint_every),
            max_steps=steps,
            default_root_dir=out,
            logger=_tensorboard(out, newest) if logger is True else logger,
            callbacks=[*own, *callbacks],
            plugins=[AtomicCheckpointIO()],
        )
        checkpointer.run = {"steps": steps, "seed": seed, "ema_decay": ema_decay, **_shape_of(run)}
        if newest is not None:
            refuse_other_run(newest, checkpointer.run, module)
        if is_finished(out):
            return
        run.fit(module, datamodule=data, ckpt_path=newest, weights_only=True)

    if run.is_global_zero:
        result = module.network if isinstance(module, NetworkModule) else module
        with ema.in_place(module) if ema else nullcontext():
            weights = state_dict_copy(result)
        write_results(out, weights, cost.summary(module, run.global_step))


def _check(out: Path, options: Mapping[str, Any], **counts: int) -> None:
    """Refuses what cannot work before anything is built."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: `out` must be a folder, and this is a file; give another path.")
    for name, value in counts.items():
        least = 0 if name == "seed" else 1
        if value < least:
            raise UserError(f"{name}: must be at least {least}, got {value}.")
    if any(word in str(options.get("strategy")) for word in ("spawn", "fork", "notebook")):
        raise UserError(f"trainer.strategy={options['strategy']}: its processes cannot hand results back; use ddp.")
    known = inspect.signature(Trainer).parameters
    for name in options:
        if name in OWNED:
            raise UserError(f"trainer.{name}: is set by the run; use `{OWNED[name]}` of the fit section.")
        if name not in known:
            raise UserError(f"trainer.{name}: `lightning.Trainer` has no such argument{did_you_mean(name, known)}.")


def _tensorboard(out: Path, newest: Path | None) -> TensorBoardLogger:
    """Logs to ``out/tensorboard``, hiding what a killed run wrote after its last checkpoint."""
    purge = None if newest is None else checkpoint_step(newest)
    return TensorBoardLogger(out, name="tensorboard", version="", default_hp_metric=False, purge_step=purge)


def _with_defaults(options: Mapping[str, Any], checkpoint_every: int) -> dict[str, Any]:
    """Trainer arguments where ours differ from Lightning's, overridden by the caller's."""
    return {
        "check_val_every_n_epoch": None,  # validation goes by steps, not epochs
        "val_check_interval": checkpoint_every * options.get("accumulate_grad_batches", 1),  # counted in batches
        "deterministic": "warn",
        "devices": 1,  # each takes a batch of its own, so a result must not depend on how many a machine has
        "use_distributed_sampler": False,  # the readers divide the data among ranks themselves
        "enable_model_summary": False,
        "log_every_n_steps": 10,
        **options,
    }


def _shape_of(trainer: Trainer) -> dict[str, Any]:
    """The Trainer's settings that change the numbers, and so must not change amid a run."""
    return {
        "ranks": trainer.world_size,
        "precision": trainer.precision,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "gradient_clip_val": trainer.gradient_clip_val,
    }
