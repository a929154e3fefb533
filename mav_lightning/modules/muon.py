"""Muon: orthogonalized momentum for matrices, AdamW for the rest.

At the smallest scale a CPU runs few steps, and Muon needs fewer of them: the image decoder of `tiny` reaches a loss of
0.14 in 50 seconds on one core, and 0.26 with AdamW; see docs/results/pilot.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mav_lightning.common.schema import Fraction, NonNegativeFloat, PositiveFloat
from mav_lightning.common.sharding import is_sharded, shard_like, whole

__all__ = ["Muon", "orthogonalize"]

# Coefficients of the quintic iteration, chosen by its author for speed over exactness.
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(Optimizer):
    """Optimizer that steps along the orthogonalized momentum of every matrix.

    Convolution kernels are treated as matrices (out, in * k * k); PyTorch's own Muon supports matrices only. Vectors
    (biases, normalization) use AdamW. Of a sharded matrix, every process gathers the whole momentum, orthogonalizes it
    and steps its own shard.

    References:
        Muon: an optimizer for hidden layers in neural networks (Jordan et al., 2024).

    Args:
        params: Parameters or parameter groups.
        lr: Spectral norm of the step of a matrix (out, in), about, times √(out / in) where that is above 1.
        momentum: Nesterov momentum of the matrices.
        vector_lr: AdamW's learning rate for parameters with fewer than two axes; schedules scale it with `lr`.
        betas: AdamW's decay rates.
        eps: AdamW's constant in the denominator.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: PositiveFloat = 0.02,
        momentum: Fraction = 0.95,
        vector_lr: NonNegativeFloat = 2e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: PositiveFloat = 1e-8,
    ) -> None:
        ratio = vector_lr / lr
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "ratio": ratio, "betas": tuple(betas), "eps": eps, "step": 0}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            matrices = [parameter for parameter in updated if parameter.ndim >= 2]
            # each by itself if sharded: no more than one momentum is gathered at a time
            for some in [[one] for one in matrices] if any(map(is_sharded, matrices)) else [matrices]:
                self._step_matrices(some, group)
            self._step_vectors([parameter for parameter in updated if parameter.ndim < 2], group)
        return loss

    def _step_matrices(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        if not parameters:
            return
        gradients, momenta = _gradients(parameters), self._states(parameters, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, momenta, group["momentum"])
        steps = orthogonalize([whole(direction).flatten(1) for direction in directions])
        for parameter, step in zip(parameters, steps, strict=True):
            scale = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
            parameter.add_(shard_like(step.reshape(parameter.shape), parameter), alpha=-group["lr"] * scale)

    def _step_vectors(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        if not parameters:
            return
        gradients = _gradients(parameters)
        means, squares = self._states(parameters, "mean"), self._states(parameters, "square")
        group["step"] += 1
        first, second = group["betas"]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - second)
        spreads = torch._foreach_sqrt(torch._foreach_div(squares, 1 - second ** group["step"]))
        torch._foreach_add_(spreads, group["eps"])
        factor = -group["lr"] * group["ratio"] / (1 - first ** group["step"])
        torch._foreach_addcdiv_([*parameters], means, spreads, value=factor)

    def _states(self, parameters: list[nn.Parameter], name: str) -> list[Tensor]:
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


def orthogonalize(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """Move all singular values towards 1 and keep the singular vectors.

    Every Newton-Schulz iterate is a polynomial of the matrix's small Gram matrix times the matrix, so only Gram
    matrices are iterated, those of equal size together.

    Args:
        matrices: Tensors of shape (M, N), of any sizes.
        steps: Quintic Newton-Schulz iterations. 5 leave singular values between about 0.7 and 1.2, which suffices.

    Returns:
        Tensors of the same shapes.
    """
    wide = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    wide = [matrix / (matrix.norm() + 1e-7) for matrix in wide]
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(wide):
        by_size[len(matrix)].append(index)
    for members in by_size.values():
        polynomials = _polynomial(torch.stack([wide[index] @ wide[index].mT for index in members]), steps)
        for index, polynomial in zip(members, polynomials, strict=True):
            wide[index] = polynomial @ wide[index]
    pairs = zip(wide, matrices, strict=True)
    return [result.mT if matrix.shape[0] > matrix.shape[1] else result for result, matrix in pairs]


def _polynomial(gram: Tensor, steps: int) -> Tensor:
    """Compute the polynomials that multiply the matrices from their Gram matrices: (N, M, M) → (N, M, M)."""
    total = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device).expand_as(gram)
    for _ in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal(dim1=-2, dim2=-1).add_(_A)
        total = factor @ total
        gram = factor @ gram @ factor
    return total


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
