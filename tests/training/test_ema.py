"""The average follows the weights, touches nothing else, and never passes for them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_training import At, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training.checkpoint_io import checkpoints
from mav_lightning.training.ema import EMA

NO_TRAINER: Any = None


class Net(nn.Module):
    """Tied and frozen weights, and buffers of integers and floats."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.frozen = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
        self.b.weight = self.a.weight
        self.register_buffer("timesteps", torch.arange(1000))
        self.register_buffer("scale", torch.rand(3))


def started(decay: float = 0.9) -> tuple[EMA, Any]:
    torch.manual_seed(0)
    ema, net = EMA(decay), Net()
    ema.on_fit_start(NO_TRAINER, net)  # type: ignore[arg-type]
    return ema, net


def move(net: nn.Module) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 1


def test_the_decay_warms_up_to_its_value() -> None:
    ema, net = started(decay=0.5)
    expected = net.a.bias.detach().clone()

    for n in range(1, 30):
        move(net)
        ema.on_step_end(NO_TRAINER, net)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * net.a.bias.detach()

    torch.testing.assert_close(ema.ema_state_dict(net)["a.bias"], expected)


def test_only_trainable_floats_are_averaged() -> None:
    ema, net = started()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    for _ in range(200):
        move(net)
        ema.on_step_end(NO_TRAINER, net)
    averaged = ema.ema_state_dict(net)

    for name in ("timesteps", "scale", "frozen.weight", "frozen.bias"):
        assert torch.equal(averaged[name], before[name]) and averaged[name].dtype == before[name].dtype
    assert ema.average.keys() == {"a.weight", "a.bias", "b.bias"}
    assert torch.equal(averaged["a.weight"], averaged["b.weight"])  # tied weights stay tied
    assert averaged.keys() == net.state_dict().keys()


def test_low_precision_weights_are_averaged_in_float32() -> None:
    ema, net = EMA(0.999), nn.Linear(2, 2).bfloat16()
    ema.on_fit_start(NO_TRAINER, net)  # type: ignore[arg-type]
    move(net)
    ema.on_step_end(NO_TRAINER, net)  # type: ignore[arg-type]

    assert ema.average["weight"].dtype == torch.float32
    assert ema.ema_state_dict(net)["weight"].dtype == torch.bfloat16


def test_weights_return_whatever_happens_while_the_average_is_in_place() -> None:
    ema, net = started()
    move(net)
    trained = net.a.weight.detach().clone()

    with pytest.raises(ZeroDivisionError), ema.in_place(net):
        assert not torch.equal(net.a.weight, trained)
        _ = 1 / 0

    assert torch.equal(net.a.weight, trained)


def test_an_exception_in_validation_leaves_the_trained_weights(tmp_path: Path) -> None:
    seen: dict[str, torch.Tensor] = {}
    module = ToyModule()

    class Look(At):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            seen["validated"] = pl_module.net[0].weight.detach().clone()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "failed", module=module, extra=[Look("on_validation_batch_end", 8, fail)])

    run(tmp_path / "whole", steps=8)
    saved = torch.load(checkpoints(tmp_path / "whole" / "checkpoints")[0], weights_only=True)
    trained = saved["state_dict"]["net.0.weight"]
    assert saved["global_step"] == 8
    assert torch.equal(module.net[0].weight, trained)  # type: ignore[arg-type]
    assert torch.equal(seen["validated"], saved["callbacks"]["EMA"]["average"]["net.0.weight"])
    assert not torch.equal(seen["validated"], trained)


def test_a_checkpoint_is_refused_while_the_average_is_in_place(tmp_path: Path) -> None:
    module = ToyModule()
    save = At("on_validation_batch_end", 4, lambda: module.trainer.save_checkpoint(tmp_path / "x.ckpt"))

    with pytest.raises(RuntimeError, match="while EMA weights are in place; save it after validation"):
        run(tmp_path, module=module, extra=[save])

    assert not (tmp_path / "x.ckpt").exists()


def test_a_checkpoint_that_averages_other_weights_is_refused() -> None:
    ema, net = started()
    del net.a

    with pytest.raises(
        UserError, match=r"averaged weights in the checkpoint are not those .* \(2 differ, first `a.bias`\)"
    ):
        ema.on_fit_start(NO_TRAINER, net)


def test_a_weight_that_is_unfrozen_joins_the_average_at_its_value() -> None:
    ema, net = started()
    before = net.frozen.bias.detach().clone()
    net.frozen.bias.requires_grad_(True)
    ema.on_step_end(NO_TRAINER, net)
    assert torch.equal(ema.average["frozen.bias"], before)

    move(net)
    ema.on_step_end(NO_TRAINER, net)

    torch.testing.assert_close(ema.average["frozen.bias"], before + 1 - 3 / 12)  # the decay of the second step


def test_an_average_of_an_unfrozen_weight_is_resumed_by_a_module_that_freezes_it_at_first() -> None:
    ema, net = started()
    net.frozen.bias.requires_grad_(True)
    ema.on_step_end(NO_TRAINER, net)
    resumed, frozen = EMA(0.9), Net()
    resumed.load_state_dict(ema.state_dict())
    resumed.on_fit_start(NO_TRAINER, frozen)  # type: ignore[arg-type]

    assert torch.equal(resumed.ema_state_dict(frozen)["frozen.bias"], ema.average["frozen.bias"])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(UserError, match=rf"must be in \[0, 1\), got {decay}; 0.999 suits"):
        EMA(decay)
