"""Every resizing rule against the code it is named after."""

import math
import pickle

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer, make_resizer
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from evaluation.resize import RESIZERS, ResizeStep, resize_frames, resizer
from mav_lightning.common.errors import UserError

SIZES = [(5, 7, 11), (16, 16, 7), (30, 20, 24), (20, 30, 24), (48, 64, 20)]  # height, width → size

# tf.compat.v1.image.resize_bilinear of TensorFlow 2.21: frame 0, red, of frames(5, 7) at 11 x 11
TENSORFLOW_UP = """
171.0000 193.2727 193.7273 165.0909  80.2727  37.1818 121.8182  84.6364  13.4545  30.6364  38.0000
169.1818 153.8512 160.3388 195.9174 145.8099 104.4132 120.4959 106.0826  78.2066  42.7438  27.5455
167.3636 114.4297 126.9504 226.7438 211.3471 171.6447 119.1736 127.5289 142.9587  54.8513  17.0909
190.2727 150.4132 145.4628 187.0578 202.5703 193.0248 131.7025 148.3141 179.5124 111.1901  81.9091
219.3636 205.2480 176.9504 129.7438 175.2149 202.9422 147.6942 168.9339 209.0165 178.5868 165.5455
168.0000 179.9752 158.5785  92.6860 137.0744 171.2314 133.8595 149.7108 181.0248 177.3802 175.8182
 63.0000 101.2975 106.9669  69.1322  91.7438 111.7686 100.1405 103.9256 114.7025 130.4380 137.1818
 37.0909  67.1157  79.4876  68.3223  76.5950  87.9256  98.8017 101.6612 104.1818 123.9091 132.3636
129.8182  99.6777  88.2066 101.6281 106.7190 117.5124 146.0331 164.6777 177.3636 178.0000 178.2727
204.0000 125.7273  95.1818 128.2727 130.8182 141.1818 183.8182 215.0909 235.9091 221.2727 215.0000
204.0000 125.7273  95.1818 128.2727 130.8182 141.1818 183.8182 215.0909 235.9091 221.2727 215.0000
"""
# the same of frames(16, 16) at 7 x 7
TENSORFLOW_DOWN = """
137.0000 141.8571 157.1429  45.1429 167.5714 194.2857 193.8573
 19.5714 103.9592 106.7551  87.3877 115.1225 168.9388  48.8571
145.4285 104.4694 164.8163 145.5307 105.3878  81.6530 153.3062
 65.1429 102.4082 107.0408 112.5103  54.9389  82.1633 158.5105
107.1429 189.7142 179.1429  72.4490 180.4285 140.3469  74.5508
 84.5714 167.2245 163.6734 195.7551 151.7755 155.5510  76.0407
187.1429 208.9797  76.4285 148.7958  95.1631 143.6325 110.6939
"""


def frames(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (2, height, width, 3)).astype(np.uint8)


def channels_first(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(("height", "width", "digits"), [(5, 7, TENSORFLOW_UP), (16, 16, TENSORFLOW_DOWN)])
def test_tf1_bilinear_gives_the_digits_of_tensorflow(height: int, width: int, digits: str) -> None:
    wanted = torch.tensor([[float(value) for value in line.split()] for line in digits.strip().splitlines()])
    got = resizer("tf1-bilinear", len(wanted))(frames(height, width))
    torch.testing.assert_close(got[0, 0], wanted, rtol=0, atol=6e-5)


def test_tf1_bilinear_counts_places_in_float32_as_tensorflow_does() -> None:
    """Where TensorFlow and the exact formula differ most: 89.2404 against 89.2347."""
    got = resizer("tf1-bilinear", 224)(frames(240, 320))
    for (frame, row, column, channel), value in {
        (1, 223, 213, 2): 89.24038, (1, 209, 213, 1): 82.39343, (0, 210, 206, 1): 179.70892, (1, 69, 220, 0): 77.59706,
    }.items():  # fmt: skip
        assert got[frame, channel, row, column].item() == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_tf1_bilinear_follows_the_formula(height: int, width: int, size: int) -> None:
    def weights(side: int) -> NDArray[np.float64]:
        matrix = np.zeros((size, side))
        for i in range(size):
            place = i * side / size
            matrix[i, int(place)] += 1 - place % 1
            matrix[i, min(int(place) + 1, side - 1)] += place % 1
        return matrix

    pixels = frames(height, width)
    wanted = np.einsum("ih,jw,thwc->tcij", weights(height), weights(width), pixels.astype(np.float64))
    got = resizer("tf1-bilinear", size)(pixels)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
@pytest.mark.parametrize("antialias", [False, True])
def test_torch_bilinear_is_torchs(height: int, width: int, size: int, antialias: bool) -> None:
    pixels = frames(height, width)
    wanted = F.interpolate(
        channels_first(pixels), size=(size, size), mode="bilinear", align_corners=False, antialias=antialias
    )
    got = resizer("torch-bilinear-antialias" if antialias else "torch-bilinear", size)(pixels)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_clean_bicubic_is_clean_fids(height: int, width: int, size: int) -> None:
    pixels, theirs = frames(height, width), make_resizer("PIL", False, "bicubic", (size, size))
    wanted = np.stack([theirs(frame) for frame in pixels]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(resizer("clean-bicubic", size)(pixels).numpy(), wanted)


def test_clean_bicubic_at_299_is_the_mode_clean() -> None:
    pixels = frames(40, 50)
    wanted = build_resizer("clean")(pixels[1]).transpose(2, 0, 1)
    np.testing.assert_array_equal(resizer("clean-bicubic", 299)(pixels)[1].numpy(), wanted)


def test_clean_bicubic_is_not_rounded_but_clipped() -> None:
    stripes = np.tile(np.array([0, 0, 255, 255], np.uint8)[None, None, :, None], (1, 8, 4, 3))
    got = resizer("clean-bicubic", 31)(stripes)
    assert (got.min(), got.max()) == (0, 255), "the filter overshoots at edges; clean-fid clips"
    assert (got % 1 != 0).any()


def videogpt(pixels: NDArray[np.uint8], size: int) -> torch.Tensor:
    """As the recipe is described: in [0, 1], the long side rounded up, the crop's corner rounded down."""
    video = channels_first(pixels) / 255
    height, width = video.shape[2:]
    if width > height:
        new_height, new_width = size, math.ceil(width * (size / height))
    else:
        new_height, new_width = math.ceil(height * (size / width)), size
    video = F.interpolate(video, size=(new_height, new_width), mode="bilinear", align_corners=False)
    y, x = math.floor((new_height - size) / 2), math.floor((new_width - size) / 2)
    return video[:, :, y : y + size][:, :, :, x : x + size] * 255


@pytest.mark.parametrize(("height", "width", "size"), [*SIZES, (24, 33, 16), (33, 24, 16), (50, 50, 224)])
def test_short_side_center_crop_is_videogpts(height: int, width: int, size: int) -> None:
    pixels = frames(height, width)
    got = resizer("short-side-center-crop", size)(pixels)
    torch.testing.assert_close(got, videogpt(pixels, size), rtol=0, atol=1e-4)


def test_short_side_center_crop_keeps_the_aspect_ratio_and_the_left_pixel() -> None:
    ramp = np.broadcast_to(np.arange(7, dtype=np.uint8)[None, None, :, None], (1, 4, 7, 3))
    got = resizer("short-side-center-crop", 4)(ramp)
    assert got[0, 0].tolist() == [[1.0, 2.0, 3.0, 4.0]] * 4, "7 - 4 = 3 columns go: one at the left, two at the right"


def test_short_side_center_crop_repeats_the_recipes_float_error() -> None:
    """ceil(50 · (224 / 50)) is 225: a square frame is stretched by one row, which the crop then cuts off."""
    got = resizer("short-side-center-crop", 224)(frames(50, 50))
    square = resizer("torch-bilinear", 224)(frames(50, 50))
    assert got.shape == square.shape and not torch.allclose(got, square, atol=0.5)


@pytest.mark.parametrize("name", RESIZERS)
def test_frames_of_the_size_wanted_stay_as_they_are(name: str) -> None:
    pixels = frames(13, 13)
    torch.testing.assert_close(resizer(name, 13)(pixels), channels_first(pixels), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", RESIZERS)
def test_results_are_float32_in_range_and_contiguous(name: str) -> None:
    extremes = np.where(frames(12, 17) > 127, 255, 0).astype(np.uint8)
    got = resizer(name, 20)(extremes)
    assert got.shape == (2, 3, 20, 20) and got.dtype == torch.float32 and got.is_contiguous()
    assert got.min() >= -1e-3 and got.max() <= 255 + 1e-3


@pytest.mark.parametrize("name", RESIZERS)
def test_rules_travel_to_other_processes_and_take_views(name: str) -> None:
    pixels = frames(12, 17)
    resize = resizer(name, 9)
    wanted = resize(pixels)
    torch.testing.assert_close(pickle.loads(pickle.dumps(resize))(pixels), wanted, rtol=0, atol=0)
    backwards = pixels[::-1]
    backwards.setflags(write=False)
    torch.testing.assert_close(resize(backwards), wanted.flip(0), rtol=0, atol=0)


def test_rules_differ() -> None:
    results = [resizer(name, 10)(frames(16, 20)) for name in RESIZERS]
    assert all((a - b).abs().max() > 1 for i, a in enumerate(results) for b in results[:i])


def test_wrong_names_sizes_and_frames_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"unknown resizing rule `clean-bicubik`; known are tf1-bil.*Did you mean `clean-bicubic`\?"
    ):
        resizer("clean-bicubik", 299)
    with pytest.raises(UserError, match="size must be at least 1 pixel, got 0"):
        resizer("clean-bicubic", 0)
    resize = resizer("torch-bilinear", 4)
    with pytest.raises(UserError, match=r"uint8 in 0..255, got float32; convert x .* by numpy.round"):
        resize(np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(UserError, match=r"shape \(T, H, W, 3\), got \(2, 3, 4, 4\); put the color channels last"):
        resize(np.zeros((2, 3, 4, 4), np.uint8))
    with pytest.raises(UserError, match=r"got int64; convert integers from 0 to 255 by astype\(numpy.uint8\)"):
        resize(np.zeros((2, 4, 4, 3), np.int64))
    for shape in ((5, 2, 4, 4, 3), (2, 4, 4)):
        with pytest.raises(UserError, match="give each clip an array of its own, in color"):
            resize(np.zeros(shape, np.uint8))


def test_the_advice_for_float_frames_undoes_the_scaling() -> None:
    pixels = frames(5, 7)
    x = pixels.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(np.round((x + 1) * 127.5).clip(0, 255).astype(np.uint8), pixels)


def loader_bytes(frames: NDArray[np.uint8], size: int, antialias: bool) -> NDArray[np.uint8]:
    """Follow a loader from stored frames to bytes: TATS's, or cd-fvd's with antialiasing and without -0.5 and +0.5."""
    video = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255.0
    height, width = video.shape[-2:]
    scale = size / min(height, width)
    target = (size, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), size)
    video = F.interpolate(video, size=target, mode="bilinear", align_corners=False, antialias=antialias)
    top, left = (video.shape[-2] - size) // 2, (video.shape[-1] - size) // 2
    video = video[:, :, top : top + size, left : left + size].permute(1, 0, 2, 3).contiguous()
    video = video if antialias else (video - 0.5) + 0.5
    return (video * 255).permute(1, 2, 3, 0).byte().numpy()


@pytest.mark.parametrize("shape", [(24, 32), (48, 20), (16, 16), (17, 31)])
@pytest.mark.parametrize(("rule", "antialias"), [("tats", False), ("cd-fvd", True)])
def test_the_steps_of_loaders_give_their_bytes(shape: tuple[int, int], rule: str, antialias: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), np.uint8)

    np.testing.assert_array_equal(resize_frames(frames, [ResizeStep(rule, 16)]), loader_bytes(frames, 16, antialias))


def test_steps_are_applied_in_order_and_give_bytes() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    half = resizer("torch-bilinear", 20)(frames).round().byte().movedim(1, -1).numpy()

    two = resize_frames(frames, [ResizeStep("torch-bilinear", 20), ResizeStep("tats", 8)])

    np.testing.assert_array_equal(two, loader_bytes(half, 8, False))
    assert two.dtype == np.uint8
    assert resize_frames(frames, []) is frames


def test_a_step_of_an_unknown_rule_is_rejected() -> None:
    with pytest.raises(
        UserError, match=r"rule: unknown resizing rule `boxx`; known are box, tats, cd-fvd, .*Did you mean `box`"
    ):
        ResizeStep("boxx", 16)
