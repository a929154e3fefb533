import pytest
import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.conditioning import augment_conditioning, downsample, upsample
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.windows import SlidingDenoiser


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 5, 8, 8)])
def test_shrinking_averages_and_enlarging_keeps_the_mean(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    small = downsample(x, 4)
    assert small.shape == (*shape[:-2], 2, 2)
    torch.testing.assert_close(small[..., 0, 0], x[..., :4, :4].mean(dim=(-2, -1)))
    large = upsample(small, 4)
    assert large.shape == x.shape
    torch.testing.assert_close(large.mean(dim=(-2, -1)), small.mean(dim=(-2, -1)))


def test_frames_are_enlarged_as_if_they_were_alone() -> None:
    clip = torch.rand(2, 3, 5, 4, 4)
    for frame in range(5):
        torch.testing.assert_close(upsample(clip, 2)[:, :, frame], upsample(clip[:, :, frame], 2))


def test_a_network_is_told_how_rough_its_picture_is() -> None:
    x, eps, level = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor([0.1, 0.5])
    given = augment_conditioning(x, level, eps)
    torch.testing.assert_close(given[:, :3] - x, level[:, None, None, None] * eps)
    torch.testing.assert_close(given[:, 3].amax(dim=(1, 2)), level.log() / 4)
    assert given[:, 3].std() > 0 and bool((given[0, 3] == given[0, 3, 0, 0]).all())


def framewise(
    x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
) -> Denoised:
    """A denoiser that treats every frame alike, and adds what it is given."""
    assert x.shape[2] == 4
    return Denoised(0.5 * x + (0.0 if concat_cond is None else concat_cond))


@pytest.mark.parametrize(("length", "overlap"), [(4, 2), (5, 2), (9, 1), (10, 3), (13, 0)])
def test_windows_leave_a_denoiser_of_single_frames_as_it_is(length: int, overlap: int) -> None:
    x, given = torch.randn(2, 3, length, 2, 2), torch.randn(2, 3, length, 2, 2)
    one, cond = torch.ones(2), torch.zeros(2, 1)
    torch.testing.assert_close(SlidingDenoiser(framewise, 4, overlap)(x, one, cond, one, given).x0, 0.5 * x + given)


def test_where_windows_disagree_they_are_mixed_without_a_step() -> None:
    def window_number(x: Tensor, *_: Tensor | None) -> Denoised:
        return Denoised(torch.full_like(x, float(x[0, 0, 0, 0, 0])))  # the window's first frame tells which it is

    x = torch.arange(16.0).reshape(1, 1, 16, 1, 1)
    mixed = SlidingDenoiser(window_number, frames=8, overlap=4)(x, torch.ones(1), torch.zeros(1, 1)).x0.flatten()
    steps = mixed.diff()
    assert mixed[0] == 0 and mixed[-1] == 8
    assert bool((steps >= 0).all()) and steps.max() < 2, "windows start at 0, 4 and 8: a seam would be a step of 4"


def test_an_overlap_as_long_as_the_window_is_refused() -> None:
    with pytest.raises(UserError, match="overlap: must be from 0 to 3, got 4"):
        SlidingDenoiser(framewise, 4, 4)
