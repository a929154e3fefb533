"""Exponential moving average (EMA) of the trained weights; samples come from the average."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.sharding import whole
from mav_lightning.training.step_callback import StepCallback

__all__ = ["EMA", "saved_ema", "state_dict_copy"]


class EMA(StepCallback):
    """Average trainable floating-point parameters in float32, and validate with the average.

    Frozen parameters and buffers are not averaged, so that a frozen text encoder does not drift and an integer table
    of timesteps is not rounded. A weight that is unfrozen later joins at the value it has then. The decay warms up as
    ``min(decay, (1 + n) / (10 + n))`` after *n* updates, so that the random initialization is forgotten. A checkpoint
    always holds the trained weights as weights and the average separately. The average of a sharded weight is sharded
    alike.

    Args:
        decay: Fraction of the old average kept at each optimizer step, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise UserError(
                f"must be in [0, 1), got {decay}; 0.999 suits short runs, 0.9999 long ones.", argument="ema_decay"
            )
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._all: dict[str, nn.Parameter] = {}  # searching the module takes as long as averaging a small one
        self._weights: list[nn.Parameter] = []
        self._trained: list[bool] = []
        self._in_place = ExitStack()
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Initialize from the weights, or from the checkpoint's average, on the device of the weights."""
        self._all = {name: weight for name, weight in pl_module.named_parameters() if weight.is_floating_point()}
        if unknown := sorted(self.average.keys() - self._all.keys()):
            raise UserError(
                f"The averaged weights in the checkpoint are not those that the module has ({len(unknown)} differ, "
                f"first `{unknown[0]}`); restore the module's config or use another `out`."
            )
        self.average = {name: mean.to(self._all[name].device) for name, mean in self.average.items()}
        self._follow()

    @torch.no_grad()
    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update the average."""
        if self._trained != [weight.requires_grad for weight in self._all.values()]:
            self._follow()
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = [weight.float() for weight in self._weights]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """Use the averaged weights in `module` inside a ``with`` block, and restore the trained weights at its end."""
        weights = {name: weight for name, weight in module.named_parameters() if name in self.average}
        trained = {name: weight.detach().clone() for name, weight in weights.items()}
        try:
            self._swapped = True
            _assign(weights, self.average)
            yield
        finally:
            _assign(weights, trained)
            self._swapped = False

    def _follow(self) -> None:
        """Average the weights that are trained by now."""
        self._trained = [weight.requires_grad for weight in self._all.values()]
        for name, weight in self._all.items():
            if weight.requires_grad and name not in self.average:
                self.average[name] = weight.detach().float().clone()
        self._weights = [self._all[name] for name in self.average]

    def ema_state_dict(self, module: nn.Module) -> dict[str, Tensor]:
        """Return ``module.state_dict()`` with the average in place of the trained weights, as copies on the CPU."""
        with self.in_place(module):
            return state_dict_copy(module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in place."""
        self._in_place.enter_context(self.in_place(pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the trained weights."""
        self._in_place.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the trained weights if validation failed, before they can be saved."""
        self._in_place.close()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Reject saving while the average is in place of the trained weights."""
        if self._swapped:
            raise RuntimeError("A checkpoint was requested while EMA weights are in place; save it after validation.")

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates, for the checkpoint."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average and the number of updates."""
        self.updates, self.average = state_dict["updates"], state_dict["average"]


def saved_ema(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the state of an `EMA` in a checkpoint, which may come from anyone. None without one."""
    callbacks = checkpoint.get("callbacks")
    states = callbacks.items() if isinstance(callbacks, dict) else ()
    own = [state for name, state in states if str(name).startswith(EMA.__qualname__) and isinstance(state, dict)]
    return next((state for state in own if isinstance(state.get("average"), dict)), None)


def state_dict_copy(module: nn.Module) -> dict[str, Tensor]:
    """Return ``module.state_dict()`` as whole copies on the CPU that share no memory; all processes must call it."""
    return {name: whole(value.detach()).cpu().clone() for name, value in module.state_dict().items()}


@torch.no_grad()
def _assign(weights: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])
