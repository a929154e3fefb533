"""Others' networks in the decoder's place: called, grown, trained and costed as ours."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mav_lightning.ablation.run import load_plan
from mav_lightning.baselines import diffusers, make_a_video_pytorch
from mav_lightning.baselines.adapter import Adapter
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.flops import network_cost
from mav_lightning.modules.transfer import transfer

NETWORKS = [make_a_video_pytorch.SpaceTimeUnet, diffusers.UNet3D]
FPS = torch.tensor([8.0, 8.0])


def build(network: Callable[..., Adapter], seed: int = 0) -> Adapter:
    torch.manual_seed(seed)
    return network(channels=8, multipliers=[1, 2], attention=[1], cond_channels=6).eval()


def noisy(*shape: int) -> Tensor:
    return torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run(net: Adapter, x: Tensor, cond: Tensor | None = None, fps: Tensor | None = FPS) -> Tensor:
    cond = torch.zeros(2, 6) if cond is None else cond
    return net(x, torch.tensor([-0.3, 0.2]), cond, fps if x.ndim == 5 else None)


@pytest.mark.parametrize("network", NETWORKS)
def test_images_and_clips_come_out_as_they_go_in(network: Callable[..., Adapter]) -> None:
    net = build(network)

    assert run(net, noisy(16, 16)).shape == (2, 3, 16, 16)
    assert run(net, noisy(9, 16, 16)).shape == (2, 3, 9, 16, 16)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_sample_is_its_own(network: Callable[..., Adapter]) -> None:
    net, clips = build(network), noisy(5, 16, 16)
    altered = clips.clone()
    altered[1] = 0.0

    torch.testing.assert_close(run(net, clips)[0], run(net, altered)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_noise_level_and_embedding_and_after_an_update_fps_tell_the_network_something(
    network: Callable[..., Adapter],
) -> None:
    net, clips = build(network), noisy(5, 16, 16)
    for parameter in net.parameters():  # some layers start at zero, as after one update none does
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        one, other = (net(clips, torch.full((2,), level), torch.zeros(2, 6), FPS) for level in (-0.5, 0.5))

    assert not torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(run(net, clips), run(net, clips, torch.ones(2, 6)), atol=1e-4)
    assert not torch.allclose(run(net, clips), run(net, clips, fps=2 * FPS), atol=1e-5)


def test_make_a_video_pytorch_skips_time_in_images_but_does_not_start_as_the_image_model() -> None:
    net, frames = build(make_a_video_pytorch.SpaceTimeUnet), noisy(16, 16)
    still = run(net, frames[:, :, None].expand(-1, -1, 9, -1, -1))

    # each feed-forward layer shifts half of its channels by a frame, zeros into the first
    assert not torch.allclose(still[:, :, 0], run(net, frames), atol=1e-2)
    torch.testing.assert_close(still[:, :, -1], run(net, frames), atol=1e-4, rtol=1e-4)


def test_an_image_is_a_clip_of_one_frame_to_diffusers() -> None:
    net, frames = build(diffusers.UNet3D), noisy(16, 16)

    torch.testing.assert_close(run(net, frames), run(net, frames[:, :, None])[:, :, 0])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_parents_weights_all_have_their_place(network: Callable[..., Adapter]) -> None:
    parent, child = build(network, seed=1), build(network, seed=2)

    report = transfer(EDMDenoiser(parent), EDMDenoiser(child))

    assert report.new == report.widened == []
    torch.testing.assert_close(run(child, noisy(5, 16, 16)), run(parent, noisy(5, 16, 16)))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_few_steps_on_one_batch_lower_the_loss(network: Callable[..., Adapter]) -> None:
    denoiser = EDMDenoiser(build(network)).train()
    clips, sigma = noisy(5, 16, 16).clamp(-1, 1), torch.tensor([0.5, 1.0])
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)  # the same noise
        loss = denoiser.loss(clips, sigma, torch.zeros(2, 6), FPS).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.9 * losses[0]


def test_they_are_costed_beside_ours_in_the_study_of_baselines() -> None:
    plan = load_plan("ablation/baselines.yaml", ["seeds=[0]"])
    costs = {
        name: network_cost(plan.trial(name, 0).stages["temporal"].config)
        for name in ("make_a_video", "make_a_video_pytorch", "diffusers")
    }

    assert costs["make_a_video"].parameters < costs["make_a_video_pytorch"].parameters < costs["diffusers"].parameters
    assert all(cost.flops > 1e8 for cost in costs.values())


@pytest.mark.parametrize(
    ("network", "library"),
    [(make_a_video_pytorch.SpaceTimeUnet, "make_a_video_pytorch"), (diffusers.UNet3D, "diffusers")],
)
def test_without_the_extra_what_to_install_is_told(
    network: Callable[..., Adapter], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(UserError, match=r"run `pip install '.\[baselines\]'` in a checkout"):
        build(network)


@pytest.mark.parametrize("module", ["diffusers", "make_a_video_pytorch"])
def test_an_adapter_needs_no_other_import_first(module: str) -> None:
    code = f"from mav_lightning.baselines import {module} as it; getattr(it, it.__all__[0])(channels=8)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": [7]}, r"attention: level 7 does not exist; `multipliers` defines levels 0 to 2"),
        ({"multipliers": []}, "multipliers: needs one number per level"),
        ({"channels": "8"}, r"channels: must be a whole number above 0, got '8'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    network: Callable[..., Adapter], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        network(**arguments)
