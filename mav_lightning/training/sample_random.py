"""Random numbers by sample: what PyTorch draws for a batch does not depend on how its samples are divided."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils.hooks import RemovableHandle

__all__ = ["Numbers", "SampleRandom", "batch_sizes"]

Numbers = NDArray[np.uint64]

# Constants of SplitMix64 (Steele et al., 2014), a generator whose n-th value is a hash of n.
_STEP, _MIX1, _MIX2 = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_COLUMN = np.uint64(0xD1B54A32D192ED03)  # odd, so that columns do not repeat
_SMALL = 1024  # values per sample up to which hashing is faster than seeding a generator


class SampleRandom(TorchFunctionMode):
    """Draw random tensors by sample: each row comes from a random stream of its sample.

    While active, functions such as `torch.randn`, `torch.rand_like`, `Tensor.normal_` and `functional.dropout` fill the
    row of a sample from its number, so that a training is the same on any number of processes and with any accumulation
    of gradients. Rows lie along the first dimension if it is as long as the batch, or, for functions of a tensor, a
    multiple of it, as where frames are folded into the batch; otherwise along the next dimension as long as the batch.
    All other draws, such as one position for the whole batch, come from the global generator as usual.

    Every call takes one value from the global generator, which with the sample's number determines the row. Restoring
    the generator's state, as activation checkpointing does, therefore restores the draws. Calls with a `generator` are
    left alone, and so is what composite functions draw inside, such as the dropout of fused attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[int, Numbers] = {}
        self._generators: dict[torch.device, torch.Generator] = {}
        self._left: list[bool] = []

    def skip(self, module: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
        """Do not watch the forward pass of a module, which draws nothing: watching takes 4 microseconds a call.

        Args:
            module: The module, as `drawless` finds it.

        Returns:
            Hooks, to remove in order to watch it again.
        """
        before = module.register_forward_pre_hook(lambda *_: self._leave())
        return before, module.register_forward_hook(lambda *_: self._return(), always_call=True)

    def _leave(self) -> None:
        watching = _get_current_function_mode() is self  # not between batches, or with another mode on top
        self._left.append(watching)
        if watching:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        """Stop watching, which an interruption within a skipped module, unlike its end, leaves stopped already."""
        if not any(self._left):
            super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._left.clear()

    def _return(self) -> None:
        if self._left.pop():
            self.__enter__()  # type: ignore[no-untyped-call]

    def set_samples(self, numbers: Mapping[int, Numbers]) -> None:
        """Set the samples of the next draws.

        Args:
            numbers: Batch size on this process → numbers of the samples, in the order of the batch.
        """
        self._numbers = dict(numbers)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Draw by sample if the function draws for a batch; call any other function unchanged."""
        if func is torch.Tensor.backward:  # recomputed activations must be drawn as they were
            with self:
                return _backward(*args, **(kwargs or {}))
        draw = _DRAWS.get(func)
        if draw is not None and (not kwargs or kwargs.get("generator") is None):
            drawn = draw(self, *args, **(kwargs or {}))
            if drawn is not None:
                return drawn
        return func(*args, **(kwargs or {}))

    def rows(self, shape: Sequence[int], folded: bool) -> tuple[int, Numbers] | None:
        """Return the dimension of the samples in a shape, and their numbers; None without one.

        Args:
            shape: Shape of a tensor.
            folded: Whether the first dimension may be a multiple of the batch.
        """
        if shape and shape[0] in self._numbers:
            return 0, self._numbers[shape[0]]
        for size, numbers in self._numbers.items():
            if folded and shape and shape[0] and shape[0] % size == 0:
                return 0, numbers
        for dim, length in enumerate(shape):
            if length in self._numbers:
                return dim, self._numbers[length]
        return None

    def fill(self, out: Tensor, rows: tuple[int, Numbers], normal: bool = False) -> Tensor:
        """Fill a floating-point tensor with uniform numbers in (0, 1) or with unit normal ones.

        Args:
            out: Tensor to fill.
            rows: Dimension and numbers of the samples, see `rows`.
            normal: Whether the numbers are normal.
        """
        dim, numbers = rows
        base = np.uint64(int(torch.randint(1 << 62, ())))
        keys: Numbers = base + (numbers + np.uint64(1)) * _STEP
        view = out.movedim(dim, 0).unflatten(0, (len(numbers), -1))
        values = view[0].numel()
        if values <= _SMALL:
            columns: Numbers = np.arange(1, values + 1, dtype=np.uint64) * _COLUMN
            hashed = _hash(keys[:, None] + columns)
            uniform = torch.from_numpy(((hashed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)
            drawn = torch.special.ndtri(uniform) if normal else uniform
            view.copy_(drawn.reshape(view.shape).to(out.dtype).to(out.device, non_blocking=True))
            return out
        generator = self._generators.setdefault(out.device, torch.Generator(out.device))
        for row, key in zip(view, (_hash(keys) >> np.uint64(1)).tolist(), strict=True):
            generator.manual_seed(key)
            row.normal_(generator=generator) if normal else row.uniform_(generator=generator)
        return out


def batch_sizes(batch: Any, depth: int = 3) -> list[int]:
    """Return the numbers of samples in a batch: one, or several for a batch of several kinds, each once.

    They are the lengths of the first dimensions of its tensors.

    Args:
        batch: A tensor, a typed batch, or nested mappings, sequences and objects of these.
        depth: Levels that are searched.
    """
    if isinstance(batch, Tensor):
        return [len(batch)] if batch.ndim and len(batch) else []
    if isinstance(batch, str) or depth == 0:
        return []
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else None
    if parts is None:
        parts = getattr(batch, "__dict__", {}).values()
    return list(dict.fromkeys(size for part in parts for size in batch_sizes(part, depth - 1)))


def _backward(tensor: Tensor, gradient: Tensor | None = None, **options: Any) -> None:
    """Do what `Tensor.backward` does. An edge of the graph, unlike a tensor, does not pass through the mode again."""
    if not tensor.requires_grad or (gradient is None and tensor.numel() != 1):
        torch.autograd.backward([tensor])  # raises
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    torch.autograd.backward([edge], [torch.ones_like(tensor) if gradient is None else gradient], **options)


def _hash(keys: Numbers) -> Numbers:
    keys = (keys ^ (keys >> np.uint64(30))) * _MIX1
    keys = (keys ^ (keys >> np.uint64(27))) * _MIX2
    return keys ^ (keys >> np.uint64(31))


def _new(mode: SampleRandom, size: Any, normal: bool, **options: Any) -> Tensor | None:
    """Return a new tensor of random rows; None for options that only PyTorch's own function knows."""
    shape = tuple(size[0]) if size and isinstance(size[0], Sequence | torch.Size) else size
    grad, known = options.pop("requires_grad", False), {"dtype", "device", "layout", "pin_memory", "generator"}
    rows = mode.rows(shape, folded=False)
    if rows is None or not options.keys() <= known or getattr(options.get("dtype"), "is_complex", False):
        return None
    options.pop("generator", None)
    return mode.fill(torch.empty(shape, **options), rows, normal).requires_grad_(grad)


def _like(mode: SampleRandom, tensor: Tensor, normal: bool, **options: Any) -> Tensor | None:
    rows = mode.rows(tensor.shape, folded=True)
    grad = options.pop("requires_grad", False)
    if rows is None or tensor.is_complex():
        return None
    options.pop("generator", None)
    return mode.fill(torch.empty_like(tensor, **options), rows, normal).requires_grad_(grad)


def _uniform_like(mode: SampleRandom, tensor: Tensor, shape: Sequence[int] | None = None) -> Tensor | None:
    """Return uniform numbers in (0, 1) for a tensor, or for another shape with the same samples."""
    shape = tensor.shape if shape is None else shape
    rows = mode.rows(shape, folded=True)
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return None if rows is None else mode.fill(torch.empty(shape, dtype=dtype, device=tensor.device), rows)


def _integers(mode: SampleRandom, *args: Any, dtype: Any = torch.int64, **options: Any) -> Tensor | None:
    """Return whole numbers for `torch.randint`'s bounds, one or two, and size, each by place or by name."""
    *bounds, size = (*args, options.pop("size")) if "size" in options else args
    if "high" in options:
        bounds = [options.pop("low", bounds[0] if bounds else 0), options.pop("high")]
    low, high = (0, *bounds)[-2:]
    uniform = _new(mode, (size,), False, **options, dtype=torch.float64)
    return None if uniform is None else (uniform * (high - low)).floor().add_(low).to(dtype)


def _normal_(mode: SampleRandom, tensor: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor | None:
    drawn = _like(mode, tensor, True)
    return None if drawn is None else tensor.copy_(drawn.mul_(std).add_(mean))


def _uniform_(mode: SampleRandom, tensor: Tensor, *bounds: float, **options: float) -> Tensor | None:
    low, high = (*bounds, *(0.0, 1.0)[len(bounds) :])
    low, high = options.get("from", low), options.get("to", high)
    drawn = _like(mode, tensor, False)
    return None if drawn is None else tensor.copy_(drawn.mul_(high - low).add_(low))


def _exponential_(mode: SampleRandom, tensor: Tensor, lambd: float = 1.0, **_: Any) -> Tensor | None:
    drawn = _uniform_like(mode, tensor)
    return None if drawn is None else tensor.copy_(-drawn.log() / lambd)


def _bernoulli(mode: SampleRandom, p: Tensor, *args: Any, **_: Any) -> Tensor | None:
    drawn = None if args else _uniform_like(mode, p)
    return None if drawn is None else (drawn < p).to(p.dtype)


def _bernoulli_(mode: SampleRandom, tensor: Tensor, p: Any = 0.5, **_: Any) -> Tensor | None:
    drawn = _uniform_like(mode, tensor)
    return None if drawn is None else tensor.copy_(drawn < p)


def _dropout(
    mode: SampleRandom, tensor: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor | None:
    return _masked(mode, tensor, p, inplace, tensor.shape) if training and p > 0 else None


def _channel_dropout(
    mode: SampleRandom, tensor: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor | None:
    shape = (*tensor.shape[:2], *[1] * (tensor.ndim - 2))
    return _masked(mode, tensor, p, inplace, shape) if training and p > 0 else None


def _masked(mode: SampleRandom, tensor: Tensor, p: float, inplace: bool, shape: Sequence[int]) -> Tensor | None:
    drawn = _uniform_like(mode, tensor, shape)
    if drawn is None:
        return None
    kept = (drawn >= p).to(tensor.dtype) / max(1 - p, torch.finfo(torch.float32).tiny)
    return tensor.mul_(kept) if inplace else tensor * kept


# Function of PyTorch → the draw by sample, which returns None where PyTorch's own function has to draw.
_DRAWS: dict[Any, Callable[..., Tensor | None]] = {
    torch.randn: lambda mode, *size, **options: _new(mode, options.pop("size", None) or size, True, **options),
    torch.rand: lambda mode, *size, **options: _new(mode, options.pop("size", None) or size, False, **options),
    torch.randint: _integers,
    torch.randn_like: lambda mode, tensor, **options: _like(mode, tensor, True, **options),
    torch.rand_like: lambda mode, tensor, **options: _like(mode, tensor, False, **options),
    torch.bernoulli: _bernoulli,
    torch.Tensor.normal_: _normal_,
    torch.Tensor.uniform_: _uniform_,
    torch.Tensor.exponential_: _exponential_,
    torch.Tensor.bernoulli_: _bernoulli_,
    F.dropout: _dropout,
    F.dropout1d: _channel_dropout,
    F.dropout2d: _channel_dropout,
    F.dropout3d: _channel_dropout,
}
