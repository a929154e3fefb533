"""Repetition of one step of a training, to look at a loss that was not finite or a spike."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from mav_lightning.common.errors import UserError
from mav_lightning.networks.checkpoint_parts import checkpoint_files
from mav_lightning.training.checkpoint_io import checkpoint_step, checkpoints, is_intact
from mav_lightning.training.finite import NONFINITE, sample_keys, unscaled
from mav_lightning.training.spikes import SPIKES

__all__ = ["ReplayedStep", "replay_step"]


@dataclass
class ReplayedStep:
    """Values of a repeated step, and those that the run recorded.

    Attributes:
        step: Optimizer steps done before.
        begun_at: Step of the checkpoint that it was repeated from; 0 for the initial weights.
        samples: Keys of the samples of each accumulated batch.
        losses: Loss of each accumulated batch, as text that holds all digits.
        layer: First layer whose output was not finite. None if all were finite.
        recorded: Losses of the first process in the run's record of non-finite steps or spikes, as `losses`. None if
            neither has the step.
    """

    step: int
    begun_at: int
    samples: list[list[str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    layer: str | None = None
    recorded: list[str] | None = None


def replay_step(train: Callable[[Path, Callback], None], out: Path, step: int) -> ReplayedStep:
    """Repeat a step of a training in a temporary folder, from the newest good checkpoint before it.

    The folder of the training is not changed. Without a checkpoint before the step, all steps up to it are repeated.

    Args:
        train: Trains in a folder, with a further callback.
        out: Folder of the training.
        step: Optimizer steps done before the step, as ``nonfinite.json`` and ``spikes.json`` count.

    Raises:
        UserError: If the training has fewer steps, or is another one than the one in `out`.
    """
    newest = next((path for path in checkpoints(out / "checkpoints") if _is_before(path, step)), None)
    replayed = ReplayedStep(step, 0 if newest is None else checkpoint_step(newest), recorded=_recorded(out, step))
    with tempfile.TemporaryDirectory() as folder:
        (saved := Path(folder, "run", "checkpoints")).mkdir(parents=True)
        for path in [] if newest is None else checkpoint_files(newest):
            for file in (path, path.with_name(f"{path.name}.sha256")):
                (saved / file.name).symlink_to(file.resolve())
        try:
            train(saved.parent, _Observer(replayed))
        except _StepReachedError:
            return replayed
        except UserError:
            if replayed.losses:  # one more step that was not finite has ended the training
                return replayed
            raise
    raise UserError(f"{out}: the training ends before step {step}; {NONFINITE} and {SPIKES} name steps.")


class _StepReachedError(Exception):
    """Raised once the step is computed."""


class _Observer(Callback):
    """Record one step, and end the training there."""

    def __init__(self, replayed: ReplayedStep) -> None:
        self._replayed = replayed
        self._hooks: list[RemovableHandle] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the samples, and begin to observe the layers."""
        if trainer.global_step != self._replayed.step:
            return
        self._replayed.samples.append(sample_keys(batch, batch_idx))
        for name, layer in pl_module.named_modules():
            self._hooks.append(layer.register_forward_hook(self._observe(name or type(layer).__name__)))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the loss."""
        if trainer.global_step == self._replayed.step:
            self._replayed.losses.append(repr(float(unscaled(trainer, loss).mean())))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop to observe the layers."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """End the training."""
        if trainer.global_step == self._replayed.step:
            raise _StepReachedError

    def _observe(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def observe(layer: nn.Module, inputs: Any, output: Any) -> None:
            if self._replayed.layer is None and isinstance(output, Tensor) and not output.isfinite().all():
                self._replayed.layer = name

        return observe


def _is_before(path: Path, step: int) -> bool:
    return checkpoint_step(path) <= step and is_intact(path)


def _recorded(out: Path, step: int) -> list[str] | None:
    """Return the losses of a step in the records of a run, for its first process."""
    for name in (NONFINITE, SPIKES):
        if not (out / name).exists():
            continue
        try:
            records = json.loads((out / name).read_text())
            found = [list(one["ranks"][0]["losses"]) for one in records if one["step"] == step]
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{out / name}: is damaged, or of an earlier version; remove it.") from error
        if found:
            return found[0]
    return None
