"""One training from the first step to the weights; the same call resumes it after any interruption, bit for bit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from annotated_types import Ge, Lt
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch.utils import deterministic

from mav_lightning.common.arguments import checked
from mav_lightning.common.identity import RESULTS
from mav_lightning.common.json_files import write_json
from mav_lightning.common.lease import Lease, claimed
from mav_lightning.common.machine import machine_identity
from mav_lightning.common.machine_faults import faults_are_user_errors
from mav_lightning.common.output import check_output
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.common.whole_file import remove_partial_files
from mav_lightning.modules.base import NetworkModule
from mav_lightning.networks.card import CARD, WEIGHTS
from mav_lightning.networks.stored import write_network
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, remove_leftovers
from mav_lightning.training.checkpointer import Checkpointer, unfinished
from mav_lightning.training.compiled import CompileNetwork
from mav_lightning.training.description import (
    describe_callbacks,
    describe_data,
    describe_module,
    describe_optimizers,
    with_content,
)
from mav_lightning.training.ema import EMA, state_dict_copy
from mav_lightning.training.finite import NONFINITE, FiniteGuard
from mav_lightning.training.fsdp2 import FSDP2, network_to_shard
from mav_lightning.training.loggers import LoggerChoice, Tags, log_tags, make_loggers
from mav_lightning.training.metric_log import MetricLog
from mav_lightning.training.monitors import FpsHistogram, LearningRate, PlayingClips, TemporalActivity
from mav_lightning.training.parts import can_be_trained, check_parts
from mav_lightning.training.progress_bar import TrainingProgress
from mav_lightning.training.quiet import quiet_lightning
from mav_lightning.training.rank_watch import RankWatch
from mav_lightning.training.rng import SeedEveryBatch
from mav_lightning.training.run_folder import COST, RunFolder
from mav_lightning.training.run_record import MACHINE, RUN
from mav_lightning.training.spikes import SPIKES, SpikeRecord
from mav_lightning.training.timing import Cost
from mav_lightning.training.trainer_options import (
    LOG_EVERY,
    check_on_device,
    check_trainer_options,
    lightning_accepts,
    trainer_identity,
    validation_of,
    with_trainer_defaults,
)
from mav_lightning.training.unsaved import UnsavedState

__all__ = ["fit"]


@checked
def fit(
    module: LightningModule,
    data: LightningDataModule,
    *,
    out: str | Path,
    steps: PositiveInt,
    checkpoint_every: PositiveInt = 500,
    background_checkpoints: bool = True,
    ema_decay: Annotated[float, Ge(0), Lt(1)] | None = 0.999,
    seed: NonNegativeInt = 0,
    compile: bool = False,
    trainer: Mapping[str, Any] | None = None,
    logger: LoggerChoice = True,
    callbacks: Sequence[Callback] = (),
    tags: Tags = MappingProxyType({}),
    name: str | None = None,
    identity: Mapping[str, Any] | None = None,
    extend: bool = False,
    any_machine: bool = False,
) -> None:
    """Train `module` on `data` for `steps` optimizer steps, resuming from the newest good checkpoint in `out`.

    The result is a function of the arguments and the module's initial weights. A run that is killed at any moment and
    called again with the same arguments ends with the same bits on the same machine type and thread count. A finished
    run is left unchanged. ``out/run.json`` and every checkpoint record what identifies the run; another run in the same
    folder is rejected. Writes ``out/checkpoints``, the loggers' files, and at the end ``out/weights.safetensors`` (the
    state dict of a `NetworkModule`'s network, otherwise of the whole module) and ``out/cost.json``, see `Cost.summary`.

    Args:
        module: Module to train. It logs its loss as ``loss/train`` and brings its own learning-rate schedule.
        data: Datamodule. For exact resuming, its train loader needs ``__len__`` (batches per epoch), ``state_dict`` and
            ``load_state_dict``.
        out: Folder of this run alone.
        steps: Optimizer steps of the whole run, restarts included.
        checkpoint_every: Optimizer steps between two checkpoints, and between two validations unless `trainer` sets
            ``val_check_interval``. The last step is always validated.
        background_checkpoints: Write checkpoints in a thread while training continues. This takes as much main memory
            as a checkpoint, in the first process; False if that is short. No bit depends on it.
        ema_decay: Decay of the exponential moving average of the weights, in [0, 1). The average is validated and
            written as the result. None for no average.
        seed: Seed of the noise in training and validation steps, 0 or greater.
        compile: Compile the denoiser's network with PyTorch. The first steps then take minutes, later ones are faster,
            and results differ by rounding.
        trainer: Further arguments of `lightning.Trainer`: accelerator, strategy, precision, … It trains on one device
            unless ``devices`` asks for more. With ``fast_dev_run`` nothing is resumed or kept.
        logger: True for TensorBoard, False for none; ``"tensorboard"``, ``"csv"``, ``"wandb"``, ``"mlflow"``, a
            Lightning logger, or a list of these. Loggers given by name write into `out` and are offline.
        callbacks: Further Lightning callbacks. A progress bar among them replaces the default one. Lightning's that
            change weights or batches, and those with a method ``identity()``, are part of what the run is.
        tags: Tag → value that loggers record with the run, for example variant and seed.
        name: Name of the run in loggers. None for the name of the folder `out`.
        identity: Everything else that determines the result, as plain data, for example the resolved config
            that `module` and `data` were built from. None describes the two objects; see `describe_module` and
            `describe_data`.
        extend: Accept that the run in `out` has fewer steps, and continue it, if its schedule allows that.
        any_machine: Accept that the run in `out` was computed on another kind of processor, with another number of
            threads or another version of PyTorch; its result is then not the bits of an uninterrupted run.

    Raises:
        UserError: If an argument is out of range or may not be set here, `out` holds another run or is in use by
            another process, the disk is full, the loss stays non-finite, or training ends before its last step
            (``trainer.max_time``, a callback, no data).
        SystemExit: With 128 + number after SIGTERM (143), Ctrl-C (130), SIGHUP, SIGUSR1 or SIGUSR2, once the
            checkpoint is written.
    """
    out, options, given = check_output(out, "folder"), dict(trainer or {}), list(callbacks)
    check_output(out / "checkpoints", "folder", argument=None)
    check_trainer_options(options)
    cost, ema = Cost(), None if ema_decay is None else EMA(ema_decay)
    checkpointer = Checkpointer(out / "checkpoints", checkpoint_every, background=background_checkpoints)
    curves = MetricLog(options.get("log_every_n_steps", LOG_EVERY))
    own = [cost, *_guards(out, seed, compile, ema, options), *_monitors(checkpoint_every, options, given)]
    own += [curves, validation_of(options, checkpoint_every), UnsavedState(checkpoint_every)]
    check_parts(module, data, given, logger, [*own, checkpointer])

    # a debugging aid of torch that costs a few per cent
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    tried = bool(options.get("fast_dev_run"))
    with quiet_lightning(), faults_are_user_errors(out), ExitStack() as held:
        run = _trainer(module, out, steps, options, cost, [*own, *given, *([] if tried else [checkpointer])])
        if tried:
            with can_be_trained():
                run.fit(module, datamodule=data)
            rank_zero_warn("trainer.fast_dev_run: the parts work together; nothing is kept.")
            return
        if run.is_global_zero:  # it claims the folder for all ranks
            checkpointer.lease = held.enter_context(_alone_in(out))
        counting = describe_callbacks(given) if identity is None else {}
        settings = {"seed": seed, "fit": {"steps": steps, "ema_decay": ema_decay, "compile": compile, **counting}}
        checkpointer.run = _identity(module, data, run, options, settings, identity)
        place = RunFolder(out, any_machine, extend)
        if not place.begin(checkpointer.run, module):
            return
        run.loggers = make_loggers(logger, out, place.step, tags, name or out.resolve().name)
        log_tags(run.loggers, tags)
        held.callback(run.fit_loop.teardown)  # Lightning keeps the workers of the train loader if validation fails
        with curves.attached(module), can_be_trained():
            run.fit(module, datamodule=data, ckpt_path=place.newest, weights_only=True)
        if run.global_step < steps:
            raise unfinished(run, "the training data yield no batch, or a callback stopped it")
        _write_results(run, place, module, ema, cost)


def _trainer(
    module: LightningModule,
    out: Path,
    steps: int,
    options: Mapping[str, Any],
    cost: Cost,
    callbacks: list[Callback],
) -> Trainer:
    with lightning_accepts(options):
        run = Trainer(
            **{"profiler": cost.clock, **with_trainer_defaults(options)},
            max_steps=steps,
            default_root_dir=out,
            logger=False,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
        )
    check_on_device(run, options)
    if isinstance(run.strategy, FSDP2):
        network_to_shard(module)
    return run


def _write_results(run: Trainer, place: RunFolder, module: LightningModule, ema: EMA | None, cost: Cost) -> None:
    """Write the weights, averaged if there is an average, then the cost, then that the run is finished."""
    if not (run.is_global_zero or isinstance(run.strategy, FSDP2)):  # its weights are gathered from all processes
        return
    with ema.in_place(module) if ema else nullcontext():
        weights = state_dict_copy(module.network if isinstance(module, NetworkModule) else module)
    if not run.is_global_zero:
        return
    facts = module.training_facts() if isinstance(module, NetworkModule) else {}
    write_network(place.out, weights, trained=facts)
    write_json(place.out / COST, cost.summary(module, run.max_steps))
    place.finish()


@contextmanager
def _alone_in(out: Path) -> Iterator[Lease]:
    """Keep other trainings out of a folder, and remove what a killed one was writing there."""
    with claimed(out) as lease:
        remove_partial_files(out, RUN, WEIGHTS, CARD, COST, NONFINITE, SPIKES)
        remove_leftovers(out / "checkpoints")
        try:
            yield lease
        except Exception:
            lease.check(out)  # without its folder, a training fails in many ways
            raise


def _identity(
    module: LightningModule,
    data: LightningDataModule,
    run: Trainer,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    given: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return everything that can change the result, as plain data; see `RunRecord`."""
    what: dict[str, Any] = {"module": describe_module(module), "optimizers": describe_optimizers(module)}
    what["data"] = describe_data(data)
    if given is not None:
        what = {**given, "data": with_content(given.get("data", {}), data)}
    first = {
        "results": RESULTS,
        "seed": settings["seed"],
        "fit": {**what.get("fit", {}), **settings["fit"]},
        "trainer": trainer_identity(run, options),
    }
    return {**first, **what, **first, MACHINE: machine_identity(str(run.strategy.root_device))}


def _guards(out: Path, seed: int, compiled: bool, ema: EMA | None, options: Mapping[str, Any]) -> list[Callback]:
    """Return the callbacks that the result depends on, in the order in which they act."""
    bad, high = (None if options.get("fast_dev_run") else out / name for name in (NONFINITE, SPIKES))
    before = [SeedEveryBatch(seed), *([CompileNetwork()] if compiled else []), *([ema] if ema else [])]
    return [*before, FiniteGuard(record=bad), SpikeRecord(high), RankWatch()]


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
