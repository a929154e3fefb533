"""Hashes of every tensor that a training computes, to find where two runs of it part."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from mav_lightning.common.hashing import tensors_sha256
from mav_lightning.common.sharding import whole
from mav_lightning.training.step_callback import StepCallback

__all__ = ["TensorTrace", "TracedTensor", "first_mismatch"]


class TracedTensor(NamedTuple):
    """A tensor that a training has computed.

    Attributes:
        step: Optimizer steps done before.
        kind: ``input``, ``output``, ``gradient`` or ``weight``.
        name: Layer or weight, dotted.
        sha256: Hash of its type, shape and values.
    """

    step: int
    kind: str
    name: str
    sha256: str


class TensorTrace(StepCallback):
    """Record batches, outputs of layers, gradients and weights of a training, in the order in which they are computed.

    Attributes:
        seen: The tensors so far.
    """

    def __init__(self) -> None:
        self.seen: list[TracedTensor] = []
        self._step = 0
        self._hooks: list[RemovableHandle] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the batch, and begin to record outputs."""
        self._step = trainer.global_step
        for number, tensor in enumerate(_tensors(vars(batch) if hasattr(batch, "__dict__") else batch)):
            self._add("input", f"batch[{number}]", tensor)
        for name, layer in pl_module.named_modules():
            if name and not list(layer.children()):
                self._hooks.append(layer.register_forward_hook(self._output_of(name)))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop to record outputs."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Record the gradients."""
        for name, weight in pl_module.named_parameters():
            if weight.grad is not None:
                self._add("gradient", name, weight.grad)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the weights."""
        for name, weight in pl_module.state_dict().items():
            self._add("weight", name, weight)

    def _output_of(self, name: str) -> Any:
        def record(layer: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in _tensors(output):
                self._add("output", name, tensor)

        return record

    def _add(self, kind: str, name: str, tensor: Tensor) -> None:
        self.seen.append(TracedTensor(self._step, kind, name, tensors_sha256({"": whole(tensor)})))


def first_mismatch(one: Sequence[TracedTensor], other: Sequence[TracedTensor]) -> TracedTensor | None:
    """Return the first tensor of two runs of the same training that differs, or None if all bits are equal."""
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            return mine
    longer = max(one, other, key=len)
    return None if len(one) == len(other) else longer[min(len(one), len(other))]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
