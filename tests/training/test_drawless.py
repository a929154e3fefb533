"""Layers that draw nothing are not watched, and everything else is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from mav_lightning.nn.small_clip import SmallCLIP
from mav_lightning.nn.unet import SpaceTimeUNet
from mav_lightning.training.drawless import drawless
from mav_lightning.training.sample_random import _DRAWS, SampleRandom


class Noisy(nn.Module):
    """A layer of somebody else's."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Shift(nn.Linear):
    """A subclass of a layer that draws nothing."""


class Recorded(TorchFunctionMode):
    """Records the random functions that are called."""

    def __init__(self) -> None:
        self.drew: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.drew += [func] if func in _DRAWS else []
        return func(*args, **(kwargs or {}))


def unet(**changes: Any) -> SpaceTimeUNet:
    return SpaceTimeUNet(channels=16, multipliers=(1, 2), attention=(1,), cond_channels=8, head_channels=16, **changes)


def test_a_u_net_of_this_project_is_one_layer_that_draws_nothing() -> None:
    net, recorded = unet(), Recorded()
    assert list(drawless(nn.ModuleDict({"net": net, "other": Noisy()}))) == [net]
    with recorded:
        net(torch.zeros(2, 3, 4, 8, 8), torch.zeros(2), torch.zeros(2, 8), torch.ones(2))
    assert recorded.drew == []


@pytest.mark.parametrize(
    "layer",
    [Noisy(), Shift(2, 2), nn.Dropout(0.0), nn.MultiheadAttention(4, 1), nn.TransformerEncoderLayer(4, 1)],
    ids=lambda layer: type(layer).__name__,
)
def test_what_contains_another_layer_may_draw(layer: nn.Module) -> None:
    first = nn.Linear(2, 2)
    found = list(drawless(nn.Sequential(first, layer)))
    assert first in found and layer not in found and not any(isinstance(one, nn.Sequential) for one in found)


def test_a_hooked_replaced_or_compiled_forward_may_draw() -> None:
    hooked, replaced, compiled = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    hooked.register_forward_hook(lambda layer, inputs, output: output + torch.randn_like(output))
    replaced.forward = lambda x: torch.randn_like(x)  # type: ignore[method-assign]
    compiled.compile()
    assert list(drawless(nn.ModuleList([hooked, replaced, compiled, weight_norm(nn.Linear(2, 2))]))) == []


def test_attention_of_pytorch_chooses_other_kernels_unwatched_so_it_stays_watched() -> None:
    clip = SmallCLIP(size=8, channels=8, width=8)
    assert not any(isinstance(part, nn.TransformerEncoder) for one in drawless(clip) for part in one.modules())


@pytest.mark.parametrize("skipped", [True, False])
def test_skipping_changes_no_draw(skipped: bool) -> None:
    net = nn.Sequential(Noisy(), nn.Sequential(nn.Linear(3, 3), nn.SiLU()), nn.Dropout(0.5))
    mode = SampleRandom()
    mode.set_samples({4: np.arange(4, dtype=np.uint64)})
    hooks = [hook for layer in drawless(net) for hook in mode.skip(layer)] if skipped else []
    torch.manual_seed(0)
    nn.init.constant_(net[1][0].weight, 0.1)
    nn.init.constant_(net[1][0].bias, 0.2)
    with mode:
        out = checkpoint(net, torch.ones(4, 3, requires_grad=True), use_reentrant=False)
        out.sum().backward()
        later = torch.rand(4, 2)
    assert len(hooks) == 2 * skipped
    torch.manual_seed(0)
    with mode:
        noise = torch.randn(4, 3)
        hidden = nn.functional.silu((1 + noise).sum(1, keepdim=True).mul(0.1).add(0.2)).expand(4, 3)
        assert torch.allclose(out, nn.functional.dropout(hidden, 0.5))
        assert torch.equal(later, torch.rand(4, 2))
    assert _get_current_function_mode_stack() == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_within_a_skipped_layer_leaves_no_mode(error: type[BaseException]) -> None:
    class Fails(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            assert _get_current_function_mode_stack() == []
            raise error

    layer, mode = Fails(2, 2), SampleRandom()
    hooks = mode.skip(layer)
    with pytest.raises(error), mode:
        layer(torch.ones(1, 2))
    for hook in hooks:
        hook.remove()
    assert _get_current_function_mode_stack() == []
    with mode:
        assert _get_current_function_mode_stack() == [mode]
