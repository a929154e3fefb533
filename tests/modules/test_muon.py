import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate
from mav_lightning.modules.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5)])
def test_singular_values_are_pulled_to_one_and_vectors_kept(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.mT @ orthogonalize([matrix])[0] @ vh.mT
    values = inner.diagonal()
    assert (inner - values.diag()).abs().max() < 1e-9
    assert values.min() > 0.3 and values.max() < 1.3


def test_it_is_the_newton_schulz_iteration_of_every_matrix_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 9), (4, 9), (9, 4), (4, 4), (2, 30)]
    matrices = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    for matrix, result in zip(matrices, orthogonalize(matrices), strict=True):
        x = matrix / matrix.norm()
        for _ in range(5):
            gram = x @ x.mT
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        torch.testing.assert_close(result, x, rtol=1e-6, atol=1e-6)


def test_a_learning_rate_of_zero_is_rejected() -> None:
    node = {"_target_": "mav_lightning.modules.muon.Muon", "_partial_": True, "lr": 0.0}
    with pytest.raises(UserError, match="lr: must be .*above 0"):
        instantiate(node, Callable[..., Any])


def test_small_directions_survive_single_precision() -> None:
    u, v = (torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(i)))[0] for i in (0, 1))
    matrix = u @ torch.logspace(0, -4, 16).diag() @ v
    exact = orthogonalize([matrix.double()])[0]
    torch.testing.assert_close(orthogonalize([matrix])[0].double(), exact, rtol=0, atol=1e-3)


def test_a_vector_takes_the_step_of_adamw_without_decay() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    muon = Muon([ours], lr=0.1, vector_lr=0.01)
    adam = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    for _ in range(5):
        gradient = torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_a_kernel_moves_by_the_learning_rate_whatever_the_gradients_size() -> None:
    for scale in (1e-4, 1.0, 1e4):
        kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
        kernel.grad = scale * torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
        Muon([kernel], lr=0.02).step()
        moved = torch.linalg.matrix_norm(kernel.detach().flatten(1), ord=2)
        assert float(moved) == pytest.approx(0.02, rel=0.3)


def test_its_state_continues_exactly() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    optimizer = Muon(net.parameters())
    data = torch.randn(6, 8, 4)

    def train(net: nn.Module, optimizer: Muon, batches: torch.Tensor) -> None:
        for batch in batches:
            optimizer.zero_grad()
            net(batch).square().mean().backward()
            optimizer.step()

    train(net, optimizer, data[:3])
    other = copy.deepcopy(net)
    resumed = Muon(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(net, optimizer, data[3:])
    train(other, resumed, data[3:])
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
