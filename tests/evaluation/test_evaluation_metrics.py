import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.metrics import FrameTextSimilarity, FrechetDistance
from mav_lightning.common.errors import UserError


def clips(n: int, seed: int = 0, rows: int = 1) -> Tensor:
    """Features of n clips, three a row."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, rows, 3)))


def ids(n: int) -> list[str]:
    return [f"clip-{number}" for number in range(n)]


@pytest.mark.parametrize("rows", [1, 4])
def test_batches_their_order_and_repeats_change_nothing(rows: int) -> None:
    made, real, names = clips(12, 1, rows), clips(15, 2, rows), ids(15)
    whole, pieces = FrechetDistance("fvd"), FrechetDistance("fvd")

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
    metric = FrechetDistance("fvd")
    for real in (True, False):
        metric.update(clips(9), ids(9), real=real)

    assert metric.compute().item() == pytest.approx(0.0, abs=1e-9)
    assert metric.compute().dtype == torch.float64


def test_two_processes_that_share_padding_agree_with_one() -> None:
    one, made, real = FrechetDistance("fvd"), clips(9, 1), clips(9, 2)
    ranks = [FrechetDistance("fvd"), FrechetDistance("fvd")]
    for metric, rows in ((one, slice(0, 9)), (ranks[0], slice(0, 5)), (ranks[1], slice(4, 9))):
        metric.update(made[rows], ids(9)[rows], real=False)
        metric.update(real[rows], ids(9)[rows], real=True)

    ranks[0].merge_state(ranks[1])

    assert ranks[0].compute().item() == one.compute().item()


def test_too_few_clips_name_metric_numbers_and_the_way_out() -> None:
    metric = FrechetDistance("shapes-fvd")
    metric.update(clips(3), ids(3), real=False)
    metric.update(clips(9), ids(9), real=True)

    with pytest.raises(
        UserError, match=r"shapes-fvd: 3 generated feature vectors from 3 clips.*needs 4; provide at least 4"
    ):
        metric.compute()


def test_the_advice_of_too_few_clips_works() -> None:
    few = {"ids": ids(3), "clips": clips(3)}
    forced, enough = FrechetDistance("fvd", force=True), FrechetDistance("fvd")

    for metric in (forced, enough):
        metric.update(few["clips"], few["ids"], real=False)
        metric.update(clips(9), ids(9), real=True)
    enough.update(clips(1, 5), ["one more"], real=False)

    assert forced.compute().isfinite()
    assert enough.compute().isfinite()


def test_features_that_are_no_numbers_name_their_clip() -> None:
    features = clips(3)
    features[1, 0, 2] = float("nan")

    with pytest.raises(UserError, match=r"fvd: the features of clip `clip-1` are not all finite; look at the clip"):
        FrechetDistance("fvd").update(features, ids(3), real=True)


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(UserError, match=r"fvd: takes features \(clips, rows, d\) .*got \(3, 3\) and 3 ids"):
        FrechetDistance("fvd").update(clips(3)[:, 0], ids(3), real=True)


def test_clipsim_is_the_mean_cosine_over_frames_then_clips() -> None:
    red, green = torch.tensor([2.0, 0, 0]), torch.tensor([0, 3.0, 0])
    frames = torch.stack([torch.stack([red, red]), torch.stack([red, green])])
    metric = FrameTextSimilarity("clipsim")

    metric.update(frames, torch.stack([red, red]), ["a", "b"])
    metric.update(frames[:1], red[None], ["a"])

    assert metric.compute().item() == pytest.approx((1.0 + 0.5) / 2)
    assert metric.by_id(["b", "a"]).tolist() == [0.5, 1.0]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_clipsim_without_clips_is_an_error() -> None:
    with pytest.raises(UserError, match="clipsim: 0 generated clips, needs 1; add clips first"):
        FrameTextSimilarity("clipsim").compute()
