import functools
from typing import Any

import pytest
import torch

from datamodules.batch import ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.diffusion_prior import DiffusionPrior
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.optim import WarmupCosine
from mav_lightning.modules.prior_module import PriorModule
from mav_lightning.nn.prior_transformer import PriorTransformer
from mav_lightning.nn.small_clip import SmallCLIP

optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)


def prior_module(**options: Any) -> PriorModule:
    torch.manual_seed(0)
    encoder = FrozenCLIP(SmallCLIP(size=8, channels=8, width=8))
    net = DiffusionPrior(PriorTransformer(channels=8, length=16, width=16, layers=1, heads=2), steps=3)
    return PriorModule(net, encoder, LogNormalNoise(), optimizer, WarmupCosine(10), **options)


def pairs(count: int = 4) -> ImageBatch:
    pixels = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ImageBatch(pixels, ["a red circle", "a cross"] * (count // 2), [f"pair{i}" for i in range(count)])


def test_the_prior_learns_from_pairs_and_leaves_its_clip_alone() -> None:
    module = prior_module()
    before = {name: value.clone() for name, value in module.encoder.clip.state_dict().items()}
    step = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(200):
        step.zero_grad()
        loss = module.losses(pairs()).mean()
        loss.backward()
        step.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) < 0.75 * sum(losses[:20])
    assert all(torch.equal(value, before[name]) for name, value in module.encoder.clip.state_dict().items())
    assert all(name.startswith("denoiser.") for name in module.state_dict())


def test_a_prior_without_captions_is_refused_by_key() -> None:
    with pytest.raises(UserError, match="sample `lonely` has no caption"):
        prior_module().losses(ImageBatch(torch.zeros(1, 3, 8, 8), None, ["lonely"]))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_prior_trained_without_text_cannot_tell_captions_apart(share: float) -> None:
    module, seen = prior_module(cond_dropout=share), []
    module.denoiser.net.register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    module.losses(pairs())
    assert bool((seen[0] == 0).all()) == (share == 1.0)
