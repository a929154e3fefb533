"""Metrics that take clips, against `evaluate`; alone, in collections, in Lightning and on two processes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from lightning import LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection

from evaluation import CLIPSIM, FVD, KVD, Clip, FrameFID, VideoIS, evaluate
from evaluation.extractors.base import ClipFeatures, ClipProbabilities
from mav_lightning.common.errors import UserError

Array = NDArray[np.uint8]
PROMPTS = ["a red circle on a dark background", "a blue square", "a green cross"]


def clips(n: int, seed: int, frames: int = 9, size: int = 16) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, frames, size, size, 3)).astype(np.uint8)


class MeanLevels(ClipFeatures):
    """Mean red, green and blue of a clip."""

    def prepare(self, clip: Clip) -> Tensor:
        return torch.from_numpy(clip.pixels.mean(axis=(0, 1, 2))).float()

    def forward(self, prepared: Tensor) -> Tensor:
        return prepared[:, None]


class Brightness(ClipProbabilities):
    """The probability that a clip is dark."""

    def prepare(self, clip: Clip) -> Tensor:
        return torch.tensor([clip.pixels.mean() / 255, 1 - clip.pixels.mean() / 255], dtype=torch.float32)

    def forward(self, prepared: Tensor) -> Tensor:
        return prepared[:, None]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, float]]:
    """Of 40 generated and 288 real clips, by `evaluate`."""
    made = [Clip(f"{n:02}", one, 8.0, PROMPTS[n % 3]) for n, one in enumerate(clips(40, 1))]
    found: dict[str, dict[str, float]] = evaluate(made, clips(288, 2), "shapes-tiny", fps=8.0, force=True)["metrics"]
    return found


@pytest.mark.parametrize(("metric", "name"), [(FVD, "shapes-fvd"), (KVD, "shapes-kvd"), (FrameFID, "shapes-fid")])
@pytest.mark.parametrize("channels_first", [False, True])
def test_a_distance_is_that_of_evaluate(
    results: dict[str, dict[str, float]], metric: type[FVD], name: str, channels_first: bool
) -> None:
    distance = metric.from_protocol("shapes-tiny")
    made, real = clips(40, 1), clips(288, 2)
    for part in np.array_split(made, 3):
        distance.update(torch.from_numpy(part).movedim(-1, 1) if channels_first else part)
    distance.update(real, real=True, ids=[f"real {n}" for n in range(288)])

    assert distance.compute().item() == pytest.approx(results[name]["value"], rel=1e-5)  # batches move the last digits


def test_clipsim_is_that_of_evaluate_and_takes_no_real_clips(results: dict[str, dict[str, float]]) -> None:
    clipsim = CLIPSIM.from_protocol("shapes-tiny")
    clipsim.update(clips(40, 1), prompts=[PROMPTS[n % 3] for n in range(40)])
    clipsim.update(clips(5, 2), real=True, prompts=[""] * 5)

    assert clipsim.compute().item() == pytest.approx(results["shapes-clipsim"]["value"], rel=1e-6)


def test_clips_that_come_twice_count_once() -> None:
    fvd = FVD(MeanLevels(), name="my-fvd")
    for _ in range(2):
        fvd.update(clips(8, 1))
        fvd.update(clips(9, 2), real=True)

    assert (fvd.count("generated"), fvd.count("real")) == (8, 9)


def test_an_extractor_of_ones_own_makes_a_distance() -> None:
    fvd = FVD(MeanLevels(), name="my-fvd")
    dark, light = clips(9, 1) // 4, clips(9, 1) // 4 + 100
    fvd.update(dark)
    fvd.update(light, real=True)

    assert fvd.compute().item() == pytest.approx(3 * 100.0**2, rel=1e-6)  # three channels, each 100 levels away


def test_the_inception_score_of_two_certain_classes_is_two() -> None:
    black, white = np.zeros((6, 2, 4, 4, 3), np.uint8), np.full((6, 2, 4, 4, 3), 255, np.uint8)
    score = VideoIS(Brightness(), name="my-is")
    score.update(np.concatenate([black, white]), ids=[str(n) for n in range(12)])
    score.update(black, real=True)

    assert score.compute().item() == pytest.approx(2.0)


def test_clips_are_cut_to_the_frames_of_the_protocol() -> None:
    longer, exact = (FVD.from_protocol("shapes-tiny", force=True) for _ in range(2))
    for metric, frames in ((longer, slice(None)), (exact, slice(9))):
        names = [str(n) for n in range(40)]
        metric.update(clips(40, 1, frames=12)[:, frames], ids=names)
        metric.update(clips(40, 2, frames=12)[:, frames], real=True, ids=names)

    assert longer.compute().item() == exact.compute().item()


def test_a_collection_embeds_clips_once_for_metrics_of_one_extractor() -> None:
    looked: list[str] = []

    class Counted(MeanLevels):
        def prepare(self, clip: Clip) -> Tensor:
            looked.append(clip.id)
            return super().prepare(clip)

    metrics = MetricCollection({"fvd": FVD(Counted(), name="a-fvd"), "kvd": KVD(Counted(), name="a-kvd")})
    metrics.update(clips=clips(4, 1), real=False)
    metrics.update(clips=clips(4, 2), real=True)
    first = len(looked)
    metrics.update(clips=clips(4, 3), real=False)
    metrics.update(clips=clips(4, 4), real=True)

    assert set(metrics.compute()) == {"fvd", "kvd"}
    assert len(looked) - first == 8  # once each, as soon as their states are known to agree


def test_forward_adds_clips_and_has_no_value() -> None:
    fvd = FVD(MeanLevels(), name="my-fvd")

    assert torch.isnan(fvd(clips(5, 1)))
    fvd(clips(5, 2), real=True)

    assert fvd.count("generated") == 5
    assert fvd.compute() > 0
    fvd.reset()
    assert fvd.count("generated") == 0


def test_the_extractor_is_in_no_checkpoint() -> None:
    fvd = FVD.from_protocol("shapes-tiny")

    assert not fvd.state_dict()
    assert not list(fvd.parameters())


class Sampler(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.fvd = FVD(MeanLevels(), name="my-fvd")

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.fvd.update(batch, real=True)
        self.fvd.update(batch // 2)
        self.log("fvd", self.fvd, on_epoch=True)


def test_it_logs_in_a_module_of_lightning(tmp_path: Path) -> None:
    data = DataLoader(torch.from_numpy(clips(12, 1)), batch_size=5)
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    (logged,) = trainer.validate(Sampler(), data, verbose=False)
    alone = FVD(MeanLevels(), name="my-fvd")
    alone.update(clips(12, 1), real=True)
    alone.update(clips(12, 1) // 2)

    assert logged["fvd"] == pytest.approx(alone.compute().item(), rel=1e-6)


def test_a_collection_keeps_scores_apart_that_had_no_generated_clips_at_first() -> None:
    alone, metrics = VideoIS(Brightness(), name="is"), MetricCollection({
        "clipsim": CLIPSIM.from_protocol("shapes-tiny", force=True), "is": VideoIS(Brightness(), name="is"),
    })  # fmt: skip
    metrics.update(clips=clips(2, 1), real=True, prompts=PROMPTS[:2])
    metrics.update(clips=clips(3, 2), real=False, prompts=PROMPTS)
    alone.update(clips(3, 2))

    found = metrics.compute()
    assert found["is"] == alone.compute() and found["clipsim"] < 1 <= found["is"]


def test_features_stay_in_float64_and_ids_stay_apart_in_any_precision() -> None:
    fvd = FVD(MeanLevels(), name="my-fvd")
    fvd.update(clips(8, 1))
    fvd.update(clips(9, 2), real=True)
    before = fvd.compute()

    assert fvd.set_dtype(torch.float16).half().count("generated") == 8
    assert fvd.compute() == before


def share(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    fvd = FVD(MeanLevels(), name="my-fvd")
    fvd.update(clips(9, 1)[rank::2])
    fvd.update(clips(9, 2)[[0, *range(rank, 9, 2)]], real=True)  # the first clip pads both shares
    lone, clipsim = VideoIS(Brightness(), name="my-is"), CLIPSIM.from_protocol("shapes-tiny", force=True)
    if rank == 1:  # the other has no clips at all
        lone.update(clips(8, 1))
        clipsim.update(clips(3, 1), prompts=PROMPTS)
    values = [metric.compute().item() for metric in (fvd, lone, clipsim)]
    Path(folder, str(rank)).write_text(repr(values))
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_value_of_one(tmp_path: Path) -> None:
    # Forked, as two new processes would import everything first, for 13 seconds.
    torch.multiprocessing.start_processes(share, (os.fspath(tmp_path),), nprocs=2, start_method="fork")
    one = FVD(MeanLevels(), name="my-fvd")
    one.update(clips(9, 1))
    one.update(clips(9, 2), real=True)
    lone, clipsim = VideoIS(Brightness(), name="my-is"), CLIPSIM.from_protocol("shapes-tiny", force=True)
    lone.update(clips(8, 1))
    clipsim.update(clips(3, 1), prompts=PROMPTS)

    values = [metric.compute().item() for metric in (one, lone, clipsim)]
    assert {(tmp_path / rank).read_text() for rank in "01"} == {repr(values)}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            lambda x: torch.from_numpy(x).half(),
            r"clips: must be uint8 in 0\.\.255, got float16; convert x in \[-1",
        ),
        (lambda x: x.astype(np.float32) / 255, r"clips: must be uint8 in 0\.\.255, got float32"),
        (lambda x: x[0], r"clips: must have shape \(N, 3, T, H, W\) or \(N, T, H, W, 3\), got \(9, 16, 16, 3\)\."),
        (lambda x: x[..., :1], r"got \(4, 9, 16, 16, 1\)\."),
        (lambda x: x[:, :3], r"got \(4, 3, 16, 16, 3\), which could be either"),
        (lambda x: x[:, :8], r"clips: must have 9 frames or more, got 8"),
        (lambda x: [x[0], x[1][:5]], r"clips: must all have the same size and number of frames; pass others"),
    ],
)
def test_clips_of_another_kind_are_refused_with_the_fix(bad: Callable[[Array], Array], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FVD.from_protocol("shapes-tiny").update(bad(clips(4, 0)))


def test_ids_and_prompts_are_one_per_clip() -> None:
    with pytest.raises(UserError, match="ids: must be one per clip: got 2 for 3 clips"):
        FVD.from_protocol("shapes-tiny").update(clips(3, 0), ids=["a", "b"])
    with pytest.raises(UserError, match="prompts: must be one per clip: got 1 for 3 clips"):
        CLIPSIM.from_protocol("shapes-tiny").update(clips(3, 0), prompts=["a"])
    with pytest.raises(UserError, match="groups: must be one per clip: got 1 for 3 clips"):
        FVD(MeanLevels(), name="a").update(clips(3, 0), groups=["a"])


@pytest.mark.parametrize("texts", ["abc", range(3), [None] * 3])
def test_one_text_is_not_a_text_per_clip_and_numbers_are_no_texts(texts: Any) -> None:
    with pytest.raises(UserError, match="ids: must be a list of texts, one per clip, got "):
        FVD(MeanLevels(), name="a").update(clips(3, 0), ids=texts)
    with pytest.raises(UserError, match="prompts: must be a list of texts, one per clip, got "):
        CLIPSIM.from_protocol("shapes-tiny").update(clips(3, 0), prompts=texts)


def test_another_number_of_clips_than_the_protocols_needs_force() -> None:
    fvd = FVD.from_protocol("shapes-tiny")
    fvd.update(clips(40, 1))
    fvd.update(clips(40, 2), real=True)

    with pytest.raises(
        UserError, match=r"shapes-fvd: is defined for 288 real clips, got 40; provide that many, or set"
    ):
        fvd.compute()


def test_a_forced_distance_of_too_few_clips_for_its_covariance_warns(caplog: pytest.LogCaptureFixture) -> None:
    fvd = FVD.from_protocol("shapes-tiny", force=True)
    fvd.update(clips(40, 1), real=True)
    fvd.update(clips(5, 2))
    fvd.compute()

    assert "shapes-fvd: 5 generated feature vectors leave a covariance of 32 features singular" in caplog.text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FVD.from_protocol("shapes-tny"), r"no protocol `shapes-tny`.*Did you mean `shapes-tiny`"),
        (lambda: VideoIS.from_protocol("shapes-tiny"), "metric: protocol shapes-tiny has no metric for VideoIS; use"),
        (lambda: FVD.from_protocol("shapes-tiny", metric="fvd"), "has shapes-fvd for FVD, not `fvd`"),
        (
            lambda: FVD.from_protocol("fvd-styleganv-2048x16", weights=Path("nowhere")),
            "no such file; `mav weights",
        ),
        (lambda: FVD(Brightness, name="a"), "extractor: must be a ClipFeatures, got <class"),
        (lambda: FVD(MeanLevels(), name="a", frames=0), "frames: must be a whole number above 0"),
        (lambda: FVD(MeanLevels(), name="a", divisor="m"), "divisor: must be one of `n-1`, `n`, got 'm'"),
        (lambda: KVD(MeanLevels(), name="a", degree=0), "degree: must be a whole number above 0"),
        (lambda: VideoIS(Brightness(), name="a", splits=0), "splits: must be a whole number above 0"),
    ],
)
def test_a_metric_that_cannot_be_built_says_why(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()
