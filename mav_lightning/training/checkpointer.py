"""When checkpoints are saved, what describes them, how many are kept, and how a run stops on a signal."""

import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import Lease
from mav_lightning.common.slurm_queue import requeue
from mav_lightning.networks.card import Card, write_card
from mav_lightning.training.checkpoint_io import checkpoint_path, checkpoints
from mav_lightning.training.checkpoint_writer import CheckpointWriter, nested_tensors, other_objects
from mav_lightning.training.resume import warn_if_inexact
from mav_lightning.training.signals import StopSignals
from mav_lightning.training.step_callback import StepCallback, is_last_step

__all__ = ["CardWriter", "Checkpointer", "unfinished"]


# Lightning saves them for `load_from_checkpoint`, which has to be given those that are no plain data.
_HYPERPARAMETERS = {LightningModule.CHECKPOINT_HYPER_PARAMS_KEY, LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY}


class Checkpointer(StepCallback, Checkpoint):
    """Save every `every` optimizer steps, after the last one, and on a stop signal before exiting.

    Checkpoints are saved between optimizer steps only, never during gradient accumulation or validation. A checkpoint
    includes all that happens at its step. Lightning's last hook of callbacks does not: the module's own
    ``on_train_batch_end``, schedulers that follow a metric, and what ends a pass over the data come after it.

    Args:
        folder: Folder of the checkpoints.
        every: Optimizer steps between two checkpoints.
        keep: Number of checkpoints kept on disk; 2 or more, as a disk can corrupt the newest one.
        background: Write checkpoints while training continues; see `CheckpointWriter`.

    Attributes:
        run: Identity of the run, as plain data; stored in every checkpoint.
        lease: Claim on the run's folder, in the first process; nothing is saved once it is another one. None for none.
    """

    def __init__(self, folder: Path, every: int, keep: int = 2, background: bool = True) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self.run: dict[str, Any] = {}
        self.lease: Lease | None = None
        self._writer = CheckpointWriter(background)
        self._signals = StopSignals()
        self._last, self._empty_passes = (-1, -1), 0
        self._trained: list[str] = []
        self._metrics: dict[str, Any] = {}

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers, in place of those that Lightning has just installed."""
        self._signals.install(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers."""
        super().on_train_start(trainer, pl_module)
        trainer._logger_connector._callback_metrics.update(self._metrics)
        for name, weight in pl_module.named_parameters() if self._trained else ():
            weight.requires_grad_(name in self._trained)  # callbacks unfreeze at a step that may be over
        call_after_batches(trainer, lambda: self.count_steps(trainer, pl_module))
        warn_if_inexact(trainer)
        self._signals.install(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Record the progress, which a stop signal waits for."""
        self._signals.progressed()

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Record the progress, which a stop signal waits for."""
        self._signals.progressed()

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is due.

        Raises:
            SystemExit: After a stop signal, once the checkpoint is on disk: 128 + its number, 143 for SIGTERM.
            UserError: If the last checkpoint could not be written; or if the time is up or a callback has stopped the
                training before its last step, once the checkpoint is on disk.
        """
        self._writer.check()
        stop, last = self._signals.received(trainer), is_last_step(trainer)
        # callbacks decide this alike on all ranks
        early = trainer.should_stop and not last
        if stop or early or last or self.completes(self.every):
            self._save(trainer, pl_module)
        if stop or early:
            self._finish_writing(trainer)
        if stop:
            name = signal.Signals(stop).name
            requeued = trainer.is_global_zero and stop == signal.SIGUSR1 and requeue()
            what_next = "SLURM starts it again" if requeued else "rerun the command to resume"
            trainer.print(f"{name}: saved step {trainer.global_step}; {what_next}.")
        if stop or early:
            # only rank 0 exits with an error: Lightning's launcher kills all ranks once another one does
            if not trainer.is_global_zero:
                raise SystemExit(0)
            if stop:
                raise SystemExit(128 + stop)
            raise unfinished(trainer, "`trainer.max_time` or a callback stopped it")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the last checkpoint, and restore the previous signal handlers.

        Raises:
            UserError: If it could not be written.
        """
        self._finish_writing(trainer)
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Wait for the last checkpoint, and restore the previous signal handlers."""
        self._end()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a training whose data yield nothing, or that takes no steps, which would begin pass after pass.

        Raises:
            UserError: If two passes in a row had no batch, as the first after resuming may have none left, or ten no
                optimizer step, as a module may accumulate gradients by hand.
        """
        now = (trainer.fit_loop.total_batch_idx, trainer.global_step)
        (batch, step), self._last = self._last, now
        self._empty_passes = 0 if now[0] != batch and now[1] != step else self._empty_passes + 1
        if now[0] == batch and self._empty_passes >= 2:
            raise unfinished(trainer, "the training data yield no batch")
        if self._empty_passes >= 10:
            raise unfinished(trainer, "no optimizer takes a step")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out the clock of ``trainer.max_time``: it counts each attempt alone, or a resumed run ended at once."""
        checkpoint["callbacks"].pop("Timer", None)

    def state_dict(self) -> dict[str, Any]:
        """Return the identity of the run, the trained weights, and logged values, which schedules may follow."""
        return {"run": self.run, "trained": self._trained, "metrics": self._metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which weights are trained, and the logged values; earlier checkpoints hold neither."""
        self._trained, self._metrics = state_dict.get("trained", []), dict(state_dict.get("metrics", {}))

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        trained = self._trained = [name for name, weight in pl_module.named_parameters() if weight.requires_grad]

        def begin(checkpoint: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
            def job(checkpoint: dict[str, Any]) -> None:
                if self.lease is not None:
                    self.lease.check(self.folder.parent)
                _refuse_nonfinite(checkpoint["state_dict"], trained, self.folder, step)
                write(checkpoint)
                self._remove_old(trainer)

            for key in _HYPERPARAMETERS & checkpoint.keys():
                given = dict(checkpoint[key])
                checkpoint[key] = {name: value for name, value in given.items() if not any(other_objects(value))}
            self._writer.submit(checkpoint, job)

        self._signals.progressed(saving=True)
        self._metrics = dict(trainer._logger_connector._callback_metrics)
        for logger in trainer.loggers:
            logger.save()  # the curves up to this step are on disk before a run can resume behind it
        trainer.save_checkpoint(checkpoint_path(self.folder, step), weights_only=False, storage_options=begin)
        self._signals.progressed()

    def _remove_old(self, trainer: Trainer) -> None:
        for old in checkpoints(self.folder)[self.keep :]:
            trainer.strategy.remove_checkpoint(old)

    def _finish_writing(self, trainer: Trainer) -> None:
        """Wait until all processes have written the last checkpoint."""
        self._signals.progressed(saving=True)
        self._writer.wait()
        trainer.strategy.barrier()
        self._remove_old(trainer)  # another process may have written its part last
        self._signals.progressed()

    def _end(self) -> None:
        self._signals.progressed(saving=True)
        self._writer.close()
        self._signals.restore()


def call_after_batches(trainer: Trainer, call: Callable[[], None]) -> None:
    """Call a function after each training batch, once Lightning has done all that belongs to it.

    At the end of a pass over the data that includes its hooks and schedulers, so that a training which resumes from
    there begins the next pass.

    Args:
        trainer: The Trainer, within its hook ``on_train_start``.
        call: The function.
    """
    passes = trainer.fit_loop
    batches = passes.epoch_loop
    batch_ends, pass_ends = batches.on_advance_end, passes.on_advance_end

    def on_batch_end(data_fetcher: Any) -> None:
        batches._skip_next_val = trainer.should_stop  # `Validation` has done what Lightning does when it stops
        batch_ends(data_fetcher)
        if not batches._num_ready_batches_reached():
            call()

    def on_pass_end() -> None:
        pass_ends()
        if batches._num_ready_batches_reached():
            batches.reset()  # as the next pass does, so that a checkpoint is resumed there
        call()

    batches.on_advance_end, passes.on_advance_end = on_batch_end, on_pass_end  # type: ignore[method-assign]


def unfinished(trainer: Trainer, reason: str) -> UserError:
    """Return the error of a run that ended before its last step.

    Args:
        trainer: The Trainer.
        reason: Reason why the training ended, which follows "because" in the message.
    """
    return UserError(
        f"{trainer.default_root_dir}: ended at step {trainer.global_step} of {trainer.max_steps}, because {reason}; it "
        "is not finished and its result is not written. The same command continues from the last checkpoint, and "
        "`mav checkpoint export` writes the network as it is there."
    )


class CardWriter(Callback):
    """Write ``network.json`` when a training begins, and the same description into every checkpoint.

    Checkpoints can then be exported before the training ends, and `load_from_checkpoint` can build the network.

    Args:
        out: The run's folder.
        card: Description of the network that is trained.
    """

    def __init__(self, out: Path, card: Card) -> None:
        self.out, self.card = out, card

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the description, in the first process."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            write_card(self.out, self.card)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the description of the network to the checkpoint, as plain data."""
        checkpoint["network"] = self.card.network


def _refuse_nonfinite(weights: Mapping[str, Any], trained: Iterable[str], folder: Path, step: int) -> None:
    """Raise UserError if a trained weight is not finite: such a checkpoint must not replace a good one."""
    for name in trained:
        if not all(torch.isfinite(tensor).all() for tensor in nested_tensors(weights.get(name))):
            raise UserError(
                f"`{name}` is not finite at step {step}, so nothing is saved; "
                f"{f'the checkpoints in {folder} are good' if checkpoints(folder) else 'there is no checkpoint yet'}. "
                "Lower the learning rate or set trainer.gradient_clip_val=1.0, and use another `out`."
            )
