"""Noise that frames share: unit variance, the correlation asked for, and unchanged bits without it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mav_lightning.cascade.sample_networks import sample_decoder
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EDMDenoiser, EpsDenoiser, HybridDenoiser, VDenoiser, X0Denoiser
from mav_lightning.diffusion.noise import SeededNoise, noise_like
from mav_lightning.nn.unet import SpaceTimeUNet

CLIPS = torch.zeros(4, 3, 5, 32, 32)


def correlations(noise: Tensor) -> np.ndarray:
    """Between frames, over all pixels: (T, T)."""
    return np.corrcoef(noise.transpose(0, 2).flatten(1).numpy())


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seeded", [False, True])
def test_any_two_frames_have_the_correlation_and_unit_variance(correlation: float, seeded: bool) -> None:
    torch.manual_seed(0)
    draw = SeededNoise(range(4), CLIPS.shape[1:], correlation=correlation)
    noise = draw() if seeded else noise_like(CLIPS, correlation)
    expected = correlation + (1 - correlation) * np.eye(5)
    assert np.abs(correlations(noise) - expected).max() < 0.03
    assert noise.var().item() == pytest.approx(1.0, abs=0.05)


def test_without_correlation_and_offset_the_noise_is_the_same_bits_as_plain_noise() -> None:
    torch.manual_seed(0)
    plain = torch.randn_like(CLIPS)
    torch.manual_seed(0)
    assert torch.equal(noise_like(CLIPS), plain)
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(SeededNoise([7], (3, 5, 8, 8))()[0], torch.randn(3, 5, 8, 8, generator=generator))


def test_a_clips_noise_depends_on_its_own_seed_only() -> None:
    together, alone = (SeededNoise(seeds, (3, 5, 8, 8), correlation=0.5)() for seeds in ([1, 2], [2]))
    assert torch.equal(together[1], alone[0])


def test_an_offset_is_constant_over_a_channel_of_a_clip() -> None:
    torch.manual_seed(0)
    plain = noise_like(CLIPS)
    torch.manual_seed(0)
    offsets = (noise_like(CLIPS, offset=0.1) - plain).flatten(2)
    assert offsets.std(dim=2).max() < 1e-6, "the same at all pixels and frames"
    assert offsets[..., 0].unique().numel() == 12, "another for every clip and channel"
    assert 0.05 < offsets[..., 0].std() < 0.2


def test_images_and_embeddings_have_no_frames_to_share_noise() -> None:
    for x in (torch.zeros(2, 3, 8, 8), torch.zeros(2, 64)):
        torch.manual_seed(0)
        plain = torch.randn_like(x)
        torch.manual_seed(0)
        assert torch.equal(noise_like(x, correlation=0.9), plain)


def decoder(correlation: float) -> EDMDenoiser:
    torch.manual_seed(0)
    net = SpaceTimeUNet(channels=8, multipliers=(1,), attention=(0,), cond_channels=4, head_channels=8)
    return EDMDenoiser(net, frame_correlation=correlation)


def test_sampling_starts_from_the_noise_of_training() -> None:
    """The untrained network returns a multiple of its input, which starts as the noise."""
    sampling, cond = Sampling(size=32, frames=5, steps=2), torch.zeros(4, 4)
    with torch.inference_mode():
        clips = [sample_decoder(decoder(c), cond, torch.full((4,), 8.0), range(4), sampling) for c in (0.0, 0.6)]
    assert np.abs(correlations(clips[0]) - np.eye(5)).max() < 0.03
    assert correlations(clips[1])[0, 4] == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("kind", [EDMDenoiser, EpsDenoiser, VDenoiser, HybridDenoiser, X0Denoiser])
def test_every_denoiser_trains_with_the_noise_asked_for(kind: type[EDMDenoiser]) -> None:
    class Seen(nn.Module):
        def forward(self, x: Tensor, *_: Tensor) -> Tensor:
            self.x = x
            return x.new_zeros(len(x), 3 * kind.outputs, *x.shape[2:])

    net = Seen()
    torch.manual_seed(0)
    kind(net, frame_correlation=0.8).loss(CLIPS, torch.ones(4), torch.zeros(4, 4), torch.ones(4))  # type: ignore[arg-type]
    assert correlations(net.x)[1, 3] == pytest.approx(0.8, abs=0.03)


def test_a_correlation_above_one_is_rejected() -> None:
    with pytest.raises(UserError, match="frame_correlation: must be .*1.*got 1.5"):
        decoder(1.5)
