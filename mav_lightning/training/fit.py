"""One training from the first step to the weights; the same call resumes it after any interruption, bit for bit."""

import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from annotated_types import Ge, Lt
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils import deterministic

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.common.whole_file import remove_partial_files, whole_file
from mav_lightning.modules.base import NetworkModule
from mav_lightning.networks.card import WEIGHTS
from mav_lightning.networks.stored import write_network
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, checkpoint_step, newest_checkpoint
from mav_lightning.training.checkpointer import Checkpointer
from mav_lightning.training.ema import EMA, state_dict_copy
from mav_lightning.training.finite import FiniteGuard
from mav_lightning.training.loggers import LoggerChoice, Tags, log_tags, make_loggers
from mav_lightning.training.monitors import FpsHistogram, LearningRate, PlayingClips, TemporalActivity
from mav_lightning.training.progress_bar import TrainingProgress
from mav_lightning.training.quiet import quiet_lightning
from mav_lightning.training.resume import refuse_other_run
from mav_lightning.training.rng import SeedEveryBatch
from mav_lightning.training.timing import Cost

__all__ = ["fit"]

_COST = "cost.json"

# Trainer arguments that the run sets itself → the argument of `fit` that controls them.
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


@checked
def fit(
    module: LightningModule,
    data: LightningDataModule,
    *,
    out: str | Path,
    steps: PositiveInt,
    checkpoint_every: PositiveInt = 500,
    ema_decay: Annotated[float, Ge(0), Lt(1)] | None = 0.999,
    seed: NonNegativeInt = 0,
    trainer: Mapping[str, Any] | None = None,
    logger: LoggerChoice = True,
    callbacks: Sequence[Callback] = (),
    tags: Tags = MappingProxyType({}),
    name: str | None = None,
) -> None:
    """Train `module` on `data` for `steps` optimizer steps, resuming from the newest good checkpoint in `out`.

    The result is a function of the arguments and the module's initial weights. A run that is killed at any moment and
    called again with the same arguments ends with the same bits on the same machine type and thread count. A finished
    run is left unchanged. Writes ``out/checkpoints``, the loggers' files, and at the end ``out/weights.safetensors``
    (the state dict of a `NetworkModule`'s network, otherwise of the whole module) and ``out/cost.json``, see
    `Cost.summary`.

    Args:
        module: Module to train. It logs its loss as ``loss/train`` and brings its own learning-rate schedule.
        data: Datamodule. For exact resuming, its train loader needs ``__len__`` (batches per epoch), ``state_dict`` and
            ``load_state_dict``.
        out: Folder of this run alone.
        steps: Optimizer steps of the whole run, restarts included.
        checkpoint_every: Optimizer steps between two checkpoints, and between two validations unless `trainer` sets
            ``val_check_interval``.
        ema_decay: Decay of the exponential moving average of the weights, in [0, 1). The average is validated and
            written as the result. None for no average.
        seed: Seed of the noise in training and validation steps, 0 or greater.
        trainer: Further arguments of `lightning.Trainer`: accelerator, strategy, precision, … It trains on one device
            unless ``devices`` asks for more.
        logger: True for TensorBoard, False for none; ``"tensorboard"``, ``"csv"``, ``"wandb"``, ``"mlflow"``, a
            Lightning logger, or a list of these. Loggers given by name write into `out` and are offline.
        callbacks: Further Lightning callbacks. A progress bar among them replaces the default one.
        tags: Tag → value that loggers record with the run, for example variant and seed.
        name: Name of the run in loggers. None for the name of the folder `out`.

    Raises:
        UserError: If an argument is out of range or may not be set here, `out` holds another run, the disk is full, or
            the loss stays non-finite.
        SystemExit: With 143 after SIGTERM or 130 after Ctrl-C, once the checkpoint is written.
    """
    out, options, given = Path(out), dict(trainer or {}), list(callbacks)
    _check(out, options)
    for folder in (out, out / "checkpoints"):
        rank_zero_only(remove_partial_files)(folder)
    newest = newest_checkpoint(out / "checkpoints")
    resumed = None if newest is None else checkpoint_step(newest)
    cost, ema = Cost(), None if ema_decay is None else EMA(ema_decay)
    checkpointer = Checkpointer(out / "checkpoints", checkpoint_every)
    own = [cost, SeedEveryBatch(seed), *([ema] if ema else []), FiniteGuard()]
    own += _monitors(checkpoint_every, options, given)

    # a debugging aid of torch that costs a few per cent
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with quiet_lightning():
        loggers = [] if _is_finished(out) else make_loggers(logger, out, resumed, tags, name or out.resolve().name)
        run = Trainer(
            **_with_defaults(options, checkpoint_every),
            max_steps=steps,
            default_root_dir=out,
            logger=loggers,
            callbacks=[*own, checkpointer, *given],
            plugins=[AtomicCheckpointIO()],
        )
        checkpointer.run = {"steps": steps, "seed": seed, "ema_decay": ema_decay, **_shape_of(run)}
        if newest is not None:
            refuse_other_run(newest, checkpointer.run, module)
        if _is_finished(out):
            return
        log_tags(loggers, tags)
        run.fit(module, datamodule=data, ckpt_path=newest, weights_only=True)
    if run.is_global_zero:
        result = module.network if isinstance(module, NetworkModule) else module
        with ema.in_place(module) if ema else nullcontext():
            weights = state_dict_copy(result)
        facts = module.training_facts() if isinstance(module, NetworkModule) else {}
        _write_results(out, weights, facts, cost.summary(module, run.global_step))


def _monitors(checkpoint_every: int, options: Mapping[str, Any], given: list[Callback]) -> list[Callback]:
    """Return the callbacks that only show. EMA precedes them, as some sample in validation."""
    shown: list[Callback] = [
        LearningRate(),
        FpsHistogram(checkpoint_every),
        TemporalActivity(max(checkpoint_every // 5, 1)),
        PlayingClips(),
    ]
    if options.get("enable_progress_bar", True) and not any(isinstance(one, ProgressBar) for one in given):
        shown.append(TrainingProgress())
    return shown


def _check(out: Path, options: Mapping[str, Any]) -> None:
    """Reject arguments that cannot work, before anything is built."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: `out` must be a folder, and this is a file; give another path.")
    if any(word in str(options.get("strategy")) for word in ("spawn", "fork", "notebook")):
        raise UserError(f"trainer.strategy={options['strategy']}: its processes cannot return results; use ddp.")
    known = inspect.signature(Trainer).parameters
    for name in options:
        if name in OWNED:
            raise UserError(f"trainer.{name}: cannot be set here; set `fit.{OWNED[name]}` instead.")
        if name not in known:
            raise UserError(
                f"trainer.{name}: `lightning.Trainer` has no such argument.", suggestion=nearest(name, known)
            )


def _with_defaults(options: Mapping[str, Any], checkpoint_every: int) -> dict[str, Any]:
    """Return the Trainer arguments whose defaults differ from Lightning's, overridden by the caller's."""
    return {
        "check_val_every_n_epoch": None,  # validation goes by steps, not epochs
        "val_check_interval": checkpoint_every * options.get("accumulate_grad_batches", 1),  # counted in batches
        "deterministic": "warn",
        "devices": 1,  # each takes its own batch, so a result must not depend on how many a machine has
        "use_distributed_sampler": False,  # the readers divide the data among ranks themselves
        "enable_model_summary": False,
        "log_every_n_steps": 10,
        **options,
    }


def _shape_of(trainer: Trainer) -> dict[str, Any]:
    """Return the Trainer's settings that change the numbers, and so must not change during a run."""
    return {
        "ranks": trainer.world_size,
        "precision": trainer.precision,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "gradient_clip_val": trainer.gradient_clip_val,
    }


def _write_results(out: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
    """Write the weights, then the cost: a run with a cost file is finished."""
    write_network(out, weights, trained=facts)
    with whole_file(out / _COST) as partial:
        partial.write_text(json.dumps(cost, indent=1) + "\n")


def _is_finished(out: Path) -> bool:
    return (out / _COST).is_file() and (out / WEIGHTS).is_file()
