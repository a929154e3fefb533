"""Initial weights by the layer's own name."""

import torch
from torch import Tensor, nn

from mav_lightning.nn.initialization import without_draws
from mav_lightning.nn.unet import SpaceTimeUNet


def net(seed: int = 0, **settings: object) -> SpaceTimeUNet:
    torch.manual_seed(seed)
    return SpaceTimeUNet(channels=8, multipliers=(1, 2), attention=(1,), head_channels=8, cond_channels=8, **settings)  # type: ignore[arg-type]


def weights(network: SpaceTimeUNet) -> dict[str, Tensor]:
    return network.state_dict()


def alike(name: str, *both: dict[str, Tensor]) -> bool:
    """Whether both have the weight's layer in one shape: a bias is drawn within what the layer's inputs allow."""
    layer = name.rpartition(".")[0]
    one, other = ({own: w.shape for own, w in some.items() if own.rpartition(".")[0] == layer} for some in both)
    return one == other


def test_a_layer_starts_the_same_whatever_other_layers_there_are() -> None:
    full = weights(net())
    for settings in (
        {"temporal_kernel_size": 0},
        {"temporal_attention": False},
        {"temporal_attention_everywhere": True},
        {"fps": "off"},
        {"fps": "embedding"},
        {"factorized": False},
        {"blocks": 2},
        {"context_tokens": 2},
    ):
        other = weights(net(**settings))
        drawn = [
            name for name in full.keys() & other.keys() if len(other[name].unique()) > 2 and alike(name, full, other)
        ]
        assert len(drawn) > 20, settings
        for name in drawn:
            assert torch.equal(full[name], other[name]), (settings, name)


def test_a_random_start_changes_only_what_would_have_started_without_effect() -> None:
    silent, random = weights(net()), weights(net(identity_init=False))
    changed = {name for name in silent if not torch.equal(silent[name], random[name])}

    assert changed
    assert all(len(silent[name].unique()) <= 2 for name in changed)


def test_another_seed_and_a_second_network_draw_anew() -> None:
    first = net(seed=0)
    second = SpaceTimeUNet(channels=8, multipliers=(1, 2), attention=(1,), head_channels=8, cond_channels=8)

    assert torch.equal(net(seed=0).cond_proj.weight, first.cond_proj.weight)
    assert not torch.equal(net(seed=1).cond_proj.weight, first.cond_proj.weight)
    assert not torch.equal(second.cond_proj.weight, first.cond_proj.weight)


def test_two_layers_of_one_shape_do_not_start_alike() -> None:
    network = net(blocks=2)

    assert not torch.equal(
        network.get_parameter("down_blocks.0.conv1.spatial.weight"),
        network.get_parameter("down_blocks.1.conv1.spatial.weight"),
    )


def test_weights_are_drawn_as_pytorch_draws_them() -> None:
    """Uniform within one over the square root of a layer's inputs."""
    network = SpaceTimeUNet(channels=64, cond_channels=64)
    bound = 64**-0.5
    drawn = network.context_proj.weight.detach()

    assert drawn.abs().max() <= bound
    assert abs(float(drawn.std()) - bound / 3**0.5) < 0.01 * bound


def test_the_generator_moves_on_by_the_same_amount_whatever_is_built() -> None:
    after = []
    for settings in ({}, {"temporal_attention": False}, {"blocks": 2}):
        net(**settings)
        after.append(torch.rand(()).item())

    assert after == [after[0]] * 3


def test_a_network_whose_weights_are_replaced_is_built_without_drawing_any() -> None:
    drawn = net()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with without_draws():
        undrawn = SpaceTimeUNet(channels=8, multipliers=(1, 2), attention=(1,), head_channels=8, cond_channels=8)
        layers = [
            nn.Linear(3, 3),
            nn.Conv2d(3, 3, 3),
            nn.Conv3d(3, 3, 3),
            nn.Embedding(3, 3),
            nn.MultiheadAttention(4, 2),
        ]
    assert torch.equal(torch.get_rng_state(), before) and len(layers) == 5
    undrawn.load_state_dict(drawn.state_dict())
    given = torch.randn(2, 3, 5, 8, 8), torch.rand(2), torch.randn(2, 8), torch.full((2,), 8.0)
    assert torch.equal(undrawn(*given), drawn(*given))
    assert not torch.equal(weights(net(1))["conv_in.spatial.weight"], weights(drawn)["conv_in.spatial.weight"])
