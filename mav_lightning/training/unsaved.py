"""Find state of a module that no checkpoint holds, so that a resumed training would go on with another."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.own_code import base_names, is_own
from mav_lightning.training.step_callback import StepCallback, is_last_step

__all__ = ["UnsavedState"]

_PLAIN = (bool, int, float, str)
_HOOKS = ("on_save_checkpoint", "state_dict")


class UnsavedState(StepCallback):
    """Warn of attributes and buffers that change from step to step and that no checkpoint holds.

    What the first step fills in, such as a cache, may stay as it is then. A module that saves state in a hook of its
    own is left alone, and so is what only classes of this project and of libraries have set.

    Args:
        every: Optimizer steps between two looks.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._first: dict[str, Any] | None = None
        self._warned = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reject optimizers of weights that are none of the module's, or of none at all.

        Raises:
            UserError: If there are such weights, whose shapes the message names, or no weights.
        """
        own = set(map(id, pl_module.parameters()))
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if not groups:
            raise UserError("configures no optimizer, so nothing would be trained; return one.", argument="module")
        other = [tuple(weight.shape) for group in groups for weight in group["params"] if id(weight) not in own]
        if other:
            raise UserError(
                f"its optimizer trains weights of shapes {', '.join(map(str, other[:3]))} that are not in the module's "
                "state dict, so no checkpoint would hold them; assign their layers to attributes of the module, or put "
                "them in an nn.ModuleList.",
                argument="module",
            )

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the state with that after the first step."""
        if self._warned or not (self._first is None or self.completes(self.every) or is_last_step(trainer)):
            return
        now = dict(_state(pl_module))
        if self._first is None:
            self._first = now
            return
        changed = [name for name in now if name in self._first and _differs(self._first[name], now[name])]
        self._first, self._warned = now, bool(changed)
        if changed:
            rank_zero_warn(
                f"{type(pl_module).__name__}: {', '.join(f'`{name}`' for name in changed)} changed in training, and no "
                "checkpoint holds it, so a resumed run begins with its first value and may end with other weights. "
                "Register a tensor with `register_buffer`, draw random numbers from PyTorch's global generator, and "
                "save other values in `on_save_checkpoint`."
            )


def _state(module: LightningModule) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of what checkpoints leave out, in a form that shows later changes."""
    if any(is_own(getattr(type(module), hook)) for hook in _HOOKS):
        return
    for path, layer in module.named_modules():
        before = f"{path}." if path else ""
        for name in layer._non_persistent_buffers_set:
            yield f"{before}{name}", _seen(layer._buffers[name])
        if is_own(type(layer)):
            left_out = base_names(type(layer))
            for name, value in vars(layer).items():
                if name not in left_out and (seen := _seen(value)) is not None:
                    yield f"{before}{name}", seen


def _seen(value: Any) -> Any:
    """Return what shows whether a value changes; None for anything that is no state."""
    if isinstance(value, Tensor):
        return None if isinstance(value, nn.Parameter) else (value, value._version)
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState | random.Random):
        return repr(value.get_state() if isinstance(value, np.random.RandomState) else value.getstate())
    if isinstance(value, list | tuple | dict):
        items = value.values() if isinstance(value, dict) else value
        return repr(value) if all(isinstance(item, _PLAIN) for item in items) else None
    return value if isinstance(value, _PLAIN) else None


def _differs(first: Any, now: Any) -> bool:
    if isinstance(first, tuple) and isinstance(now, tuple):
        (before, version), (after, changes) = first, now
        if before is after:
            return bool(version != changes)
        return before.dtype != after.dtype or before.device != after.device or not torch.equal(before, after)
    if isinstance(first, Tensor) and isinstance(now, Tensor):
        return not torch.equal(first, now)
    return type(first) is not type(now) or bool(first != now)
