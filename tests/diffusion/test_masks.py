import re

import pytest
import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.interpolation_baselines import linear, repeat
from mav_lightning.diffusion.masks import MaskedDenoiser, MaskedFrames, MaskSampler, every, first, last
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import SAMPLERS
from mav_lightning.diffusion.windows import Windows


def marked(mask: Tensor) -> list[int]:
    return mask.nonzero().flatten().tolist()


def test_the_grammar_marks_the_frames_it_names() -> None:
    assert marked(every(4, 9)) == [0, 4, 8]
    assert marked(every(8, 9)) == [0, 8], "the largest skip is the two ends"
    assert marked(first(2, 9)) == [0, 1]
    assert marked(last(1, 9)) == [8]


def test_a_skip_that_misses_the_last_frame_is_refused_with_those_that_do_not() -> None:
    with pytest.raises(
        ValueError, match=re.escape("a frame skip of 3 does not fit 9 frames") + ".*use one of 1, 2, 4, 8"
    ):
        every(3, 9)


def test_a_network_sees_black_where_nothing_is_known_and_is_told_so() -> None:
    pixels = torch.rand(2, 3, 4, 5, 5) + 0.5
    mask = torch.tensor([[True, False, False, True], [False, True, True, True]])
    seen = MaskedFrames(pixels, mask).channels()
    for clip, frame in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        is_known = bool(mask[clip, frame])
        assert torch.equal(seen[clip, :3, frame], pixels[clip, :, frame] if is_known else torch.zeros(3, 5, 5))
        assert bool((seen[clip, 3, frame] == is_known).all())


@pytest.mark.parametrize("name", SAMPLERS)
def test_known_frames_come_out_unchanged_from_every_sampler(name: str) -> None:
    known = MaskedFrames(torch.rand(2, 3, 5, 4, 4) * 2 - 1, torch.stack([every(2, 5), first(1, 5)]))
    filling = MaskedDenoiser(lambda x, sigma, cond, fps=None, given=None: Denoised(0.3 * x), known)
    cond = torch.zeros(2, 1)
    sample = SAMPLERS[name](
        lambda x, sigma: filling(x, sigma, cond), SeededNoise([0, 1], (3, 5, 4, 4)), karras_sigmas(5)
    )
    kept = known.mask[:, None, :, None, None].expand_as(sample)
    assert torch.equal(sample[kept], known.pixels[kept])
    assert not torch.isclose(sample[~kept], known.pixels[~kept]).any()


def test_training_meets_every_use_and_never_a_clip_without_a_question() -> None:
    torch.manual_seed(0)
    masks = MaskSampler()(3000, 9)
    assert bool((~masks).any(dim=1).all()) and bool(masks.any(dim=1).all())
    counts: dict[str, int] = {}
    for mask in masks:
        key = "".join("#" if known else "." for known in mask.tolist())
        counts[key] = counts.get(key, 0) + 1
    grids = {"#.#.#.#.#", "#...#...#", "#.......#"}
    forwards = {"#" * n + "." * (9 - n) for n in range(1, 9)}
    assert set(counts) == grids | forwards | {key[::-1] for key in forwards}
    assert sum(counts[key] for key in grids) == pytest.approx(1500, abs=120)
    assert sum(counts[key] for key in forwards) == pytest.approx(750, abs=90)


def test_a_mask_sampler_that_would_leave_nothing_to_fill_is_refused() -> None:
    with pytest.raises(UserError, match=r"skips: must be numbers from 2, .* got \[1, 2\]"):
        MaskSampler(skips=[1, 2])
    with pytest.raises(UserError, match=r"skips: must be numbers from 2, .* got \[\]"):
        MaskSampler(skips=[])
    with pytest.raises(ValueError, match="frames: must be at least 3, .* got 2"):
        MaskSampler()(4, 2)
    with pytest.raises(UserError, match="interpolation: must be between 0 and 1, got 2"):
        MaskSampler(interpolation=2.0)


def test_sixteen_frames_at_skip_five_become_seventy_six() -> None:
    windows, clip = Windows(frames=16, skip=5), torch.randn(2, 3, 16, 4, 4)
    known = windows.split(clip)
    assert known.pixels.shape == (2 * 5, 3, 16, 4, 4)
    joined = windows.join(known.pixels, clips=2)
    assert joined.shape == (2, 3, 76, 4, 4)
    assert torch.equal(joined[:, :, ::5], clip), "every given frame is where it belongs"
    for window in range(4):
        torch.testing.assert_close(known.pixels[window, :, -1], known.pixels[window + 1, :, 0])


@pytest.mark.parametrize(
    ("frames", "skip", "keys", "made"), [(9, 4, 9, 33), (9, 8, 2, 9), (9, 2, 5, 9), (16, 15, 2, 16)]
)
def test_any_skip_that_fits_the_window_is_legal(frames: int, skip: int, keys: int, made: int) -> None:
    windows = Windows(frames, skip)
    clip = torch.randn(1, 3, keys, 2, 2)
    assert torch.equal(windows.join(windows.split(clip).pixels, 1)[:, :, ::skip], clip)
    assert windows.join(windows.split(clip).pixels, 1).shape[2] == made


def test_a_clip_that_the_windows_do_not_cover_evenly_is_refused_with_a_way_out() -> None:
    with pytest.raises(
        ValueError, match="8 frames cannot be interpolated at frame skip 4 .* multiple of 2; cut the clip"
    ):
        Windows(9, 4).count(8)


def test_blending_and_holding_keep_the_known_frames_and_fill_the_others() -> None:
    clips = torch.randn(2, 3, 4, 2, 2)
    blended, held = linear(clips, 4), repeat(clips, 4)
    assert blended.shape == held.shape == (2, 3, 13, 2, 2)
    assert torch.equal(blended[:, :, ::4], clips) and torch.equal(held[:, :, ::4], clips)
    torch.testing.assert_close(blended[:, :, 5], 0.75 * clips[:, :, 1] + 0.25 * clips[:, :, 2])
    assert torch.equal(held[:, :, 7], clips[:, :, 1])
