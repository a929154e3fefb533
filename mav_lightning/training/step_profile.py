"""Where a training step's time goes: parts of the loop, and kinds of layers in the forward pass."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from mav_lightning.modules.base import NetworkModule
from mav_lightning.training.loop_clock import FORWARD, LoopClock

__all__ = ["StepProfile"]

WARM_UP = 2  # first steps, which also allocate and compile


class StepProfile(Callback):
    """Measure the parts of all steps but the first two and the last, in seconds.

    Attributes:
        parts: Seconds in each part of the loop.
        layers: Seconds in each kind of layer in the forward pass, without the layers within it.
        steps: Number of optimizer steps measured.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.layers: dict[str, float] = {}
        self.steps = 0
        self._inside: defaultdict[str, float] = defaultdict(float)
        self._measuring = False
        self._clock = LoopClock(synchronize=True)
        self._entered: list[list[float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace the Trainer's profiler, and time every layer of the network."""
        trainer.profiler = self._clock  # type: ignore[attr-defined]
        network = pl_module.network if isinstance(pl_module, NetworkModule) else pl_module
        temporal = _temporal_modules(network)
        for name, module in network.named_modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave(_kind(name, module, module in temporal)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin to measure once the first steps are over; the last step ends with its run's validation, uncounted."""
        if trainer.global_step < WARM_UP:
            return
        if not self._measuring:
            self._measuring = True
            self._inside.clear()
            self._clock.restart()
        self.steps = trainer.global_step - WARM_UP
        self.parts, self.layers = dict(self._clock.seconds), dict(self._inside)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._entered.append([_now(), 0.0])

    def _leave(self, kind: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
            began, within = self._entered.pop()
            took = _now() - began
            if self._clock.part == FORWARD:  # checkpointed activations are computed again in the backward pass
                self._inside[kind] += took - within
            if self._entered:
                self._entered[-1][1] += took

        return leave


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def _temporal_modules(network: nn.Module) -> set[nn.Module]:
    """Return the temporal parts of a network and all modules within them."""
    parts: Iterable[nn.Module] = getattr(getattr(network, "net", network), "temporal_parts", tuple)()
    return {module for part in parts for module in part.modules()}


def _kind(name: str, module: nn.Module, temporal: bool) -> str:
    """Return the name of a layer's kind, as the table shows it."""
    own = type(module).__name__
    place = "temporal" if temporal else "spatial"
    if "attn" in name.lower() or "attention" in f"{name} {own}".lower():
        return f"{place} attention"
    if "Conv" in own:
        return f"{place} convolution"
    if "Norm" in own:
        return "normalization"
    return "linear layers" if "Linear" in own else "other layers and copies"
