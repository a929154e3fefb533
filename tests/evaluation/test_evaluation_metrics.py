import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.metrics import CLIPSIM, FID, FVD
from mav_lightning.common.errors import UserError


class MeanColours(nn.Module):
    """Three features: of frames (N, H, W, 3) or videos (N, T, H, W, 3)."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.double().flatten(1, -2).mean(dim=1)


class RedWords(nn.Module):
    """Red frames look like the word red."""

    def images(self, frames: Tensor) -> Tensor:
        return nn.functional.normalize(frames.float().mean(dim=(1, 2)), dim=1)

    def texts(self, captions: list[str]) -> Tensor:
        return torch.stack([torch.tensor([1.0, 0, 0] if text == "red" else [0, 1.0, 0]) for text in captions])


def clips(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, 2, 4, 4, 3), dtype=np.uint8))


def ids(n: int) -> list[str]:
    return [f"clip-{number}" for number in range(n)]


@pytest.mark.parametrize("kind", [FVD, FID])
def test_batches_their_order_and_repeats_change_nothing(kind: type[FVD] | type[FID]) -> None:
    made, real, names = clips(12, 1), clips(15, 2), ids(15)
    whole, pieces = kind(MeanColours()), kind(MeanColours())

    whole.update(made, names[:12], real=False)
    whole.update(real, names, real=True)
    for row in [7, 3, 7, *range(14, -1, -1)]:
        pieces.update(real[row : row + 1], names[row : row + 1], real=True)
        if row < 12:
            pieces.update(made[row : row + 1], names[row : row + 1], real=False)

    assert pieces.compute().item() == whole.compute().item() > 0
    found, wanted = pieces.jackknife(), whole.jackknife()
    assert found and wanted
    assert found.error == pytest.approx(wanted.error, rel=1e-9)
    assert found.extrapolated == pytest.approx(wanted.extrapolated, rel=1e-9)
    assert pieces.count("generated") == 12


def test_equal_sets_are_at_distance_zero() -> None:
    metric = FVD(MeanColours())
    for real in (True, False):
        metric.update(clips(9), ids(9), real=real)

    assert metric.compute().item() == pytest.approx(0.0, abs=1e-9)
    assert metric.compute().dtype == torch.float64


def test_two_processes_that_share_padding_agree_with_one() -> None:
    one, made, real = FVD(MeanColours()), clips(9, 1), clips(9, 2)
    ranks = [FVD(MeanColours()), FVD(MeanColours())]
    for metric, rows in ((one, slice(0, 9)), (ranks[0], slice(0, 5)), (ranks[1], slice(4, 9))):
        metric.update(made[rows], ids(9)[rows], real=False)
        metric.update(real[rows], ids(9)[rows], real=True)

    ranks[0].merge_state(ranks[1])

    assert ranks[0].compute().item() == one.compute().item()


def test_too_few_clips_name_metric_numbers_and_the_way_out() -> None:
    metric = FVD(MeanColours(), name="shapes-fvd")
    metric.update(clips(3), ids(3), real=False)
    metric.update(clips(9), ids(9), real=True)

    with pytest.raises(
        UserError, match=r"shapes-fvd: 3 generated feature vectors from 3 clips.*needs 4; bring at least 4"
    ):
        metric.compute()


def test_the_advice_of_too_few_clips_works() -> None:
    few = {"ids": ids(3), "clips": clips(3)}
    forced, enough = FVD(MeanColours(), force=True), FVD(MeanColours())

    for metric in (forced, enough):
        metric.update(few["clips"], few["ids"], real=False)
        metric.update(clips(9), ids(9), real=True)
    enough.update(clips(1, 5), ["one more"], real=False)

    assert forced.compute().isfinite()
    assert enough.compute().isfinite()


def test_float_clips_are_refused() -> None:
    with pytest.raises(TypeError, match=r"fvd takes uint8 clips as read from files, got torch\.float32"):
        FVD(MeanColours()).update(clips(2).float(), ids(2), real=True)


def test_clipsim_is_the_mean_cosine_over_frames_then_clips() -> None:
    video = torch.zeros(2, 2, 4, 4, 3, dtype=torch.uint8)
    video[0, ..., 0] = 255
    video[1, 0, ..., 0] = 255  # the second clip's second frame is green
    video[1, 1, ..., 1] = 255
    metric = CLIPSIM(RedWords())

    metric.update(video, ["red", "red"], ["a", "b"])
    metric.update(video[:1], ["red"], ["a"])

    assert metric.compute().item() == pytest.approx((1.0 + 0.5) / 2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_clipsim_without_captions_says_how_to_give_them() -> None:
    with pytest.raises(UserError, match=r"0 clips with captions, needs 1; name prompts in the folder's manifest\.json"):
        CLIPSIM(RedWords()).compute()
