"""Which frames of a clip condition the decoder."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import ClipBatch
from mav_lightning.common.errors import UserError
from mav_lightning.modules.base import ImageEncoder
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.modules.denoising import ClipCondition, Denoising
from mav_lightning.modules.super_resolution import SuperResolution
from mav_lightning.nn.unet import SpaceTimeUNet


class FirstPixel(ImageEncoder):
    """The unit vector along the color of the first pixel."""

    channels = 3

    def __call__(self, pixels: Tensor) -> Tensor:
        return F.normalize(pixels[:, :, 0, 0], dim=1)


def condition(clip_condition: ClipCondition, embedding: Tensor | None = None) -> Tensor:
    exact = Denoising(FirstPixel(), cond_dropout=0.0, cond_noise=0.0, clip_condition=clip_condition)
    return exact.condition_of_clips(ClipBatch(PIXELS, torch.full((2,), 8.0), ["a", "b"], embedding), 3)


SIZES: dict[str, Any] = {"channels": 8, "multipliers": [1], "attention": [0], "head_channels": 8, "cond_channels": 3}
PIXELS = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
CLIPS = ClipBatch(PIXELS, torch.full((2,), 8.0), ["a", "b"])
FRAMES = F.normalize(PIXELS[..., 0, 0], dim=1)  # (B, D, T)


def test_the_first_frame_or_the_mean_of_all() -> None:
    torch.testing.assert_close(condition("first"), FRAMES[:, :, 0])
    torch.testing.assert_close(condition("mean"), F.normalize(FRAMES.mean(dim=2), dim=1))


def test_a_random_frame_of_each_clip() -> None:
    torch.manual_seed(0)
    drawn = set()
    for _ in range(120):
        found = condition("random")
        drawn.add(tuple(next(t for t in range(4) if torch.allclose(found[i], FRAMES[i, :, t])) for i in range(2)))
    assert len(drawn) == 16, "every pair of positions"


def test_cached_embeddings_stand_for_the_mean_but_not_for_the_first_frame() -> None:
    cached = torch.eye(3)[:2]
    assert torch.equal(condition("mean", cached), cached) and torch.equal(condition("random", cached), cached)
    with pytest.raises(UserError, match="clip_condition: `first` cannot use cached embeddings.*choose `mean`"):
        condition("first", cached)


@pytest.mark.parametrize(
    ("clip_condition", "expected"),
    [("random", FRAMES[:, :, 0]), ("first", FRAMES[:, :, 0]), ("mean", F.normalize(FRAMES.mean(dim=2), dim=1))],
)
def test_samples_are_conditioned_as_the_network_was_trained(clip_condition: ClipCondition, expected: Tensor) -> None:
    denoising = Denoising(FirstPixel(), cond_dropout=1.0, cond_noise=3.0, clip_condition=clip_condition)
    module = TemporalDecoder(SpaceTimeUNet(**SIZES), denoising)
    torch.testing.assert_close(module.sampling_condition(CLIPS), expected)


@pytest.mark.parametrize("encoder", [FirstPixel(), None])
def test_super_resolution_reads_no_cached_embeddings(encoder: ImageEncoder | None) -> None:
    module = SuperResolution(SpaceTimeUNet(**SIZES, in_channels=7), Denoising(encoder), crop=8)
    expected = torch.zeros(2, 3) if encoder is None else FRAMES[:, :, 0]
    torch.testing.assert_close(module.sampling_condition(replace(CLIPS, embedding=torch.eye(3)[:2])), expected)
    decoder = TemporalDecoder(SpaceTimeUNet(**SIZES), Denoising(encoder))
    assert torch.equal(decoder.sampling_condition(replace(CLIPS, embedding=torch.eye(3)[:2])), torch.eye(3)[:2])


def test_an_unknown_choice_is_rejected() -> None:
    with pytest.raises(UserError, match="clip_condition: must be one of .*got .*fist.*Did you mean `first`"):
        Denoising(clip_condition="fist")  # type: ignore[arg-type]
