"""Every metric gives exactly the numbers it declares; a stranger's metric and extractor are one file each."""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import Clip, evaluate, load_protocol
from evaluation.discovery import known_kinds
from evaluation.extractors.motion_measures import NAMES
from evaluation.extractors.shapes_image import ShapesImage
from evaluation.metrics.base import Features, Metric, MetricResult, Number, Score
from evaluation.metrics.frame_consistency import FrameConsistency
from evaluation.metrics.ghosts import Ghosts
from evaluation.metrics.inception_score import InceptionScore
from evaluation.metrics.motion_summary import MotionSummary
from evaluation.metrics.outlines import Outlines
from evaluation.metrics.shapes_world import EasyShapesWorld, ShapesWorld
from evaluation.protocol import FOLDER, known_protocols
from mav_lightning.common import allowed
from mav_lightning.common.allowed import allow
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.shapes_world.laws import sample_motion
from mav_lightning.common.shapes_world.scene import all_scenes, caption, render
from mav_lightning.common.video_encoding import write_lossless

PROTOCOL = load_protocol("shapes-tiny")
MYLAB = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipFeatures, ExtractorSettings, LoadedExtractor
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number


class MeanColor(ClipFeatures):
    def prepare(self, clip: Clip) -> Tensor:
        return torch.from_numpy(clip.pixels.reshape(-1, 3).mean(axis=0)).float()[None]

    def forward(self, prepared: Tensor) -> Tensor:
        return prepared


@dataclass(frozen=True)
class MeanColorSettings(ExtractorSettings):
    network = MeanColor

    def load(self, weights: Path) -> LoadedExtractor:
        return LoadedExtractor(MeanColor())


@dataclass(frozen=True)
class Brightness(Metric):
    numbers = {"{name}": Number("higher", "gray levels")}
    roles = {"of": ClipFeatures}

    of: str
    scale: float = 1.0

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        rows = extracted.features(self.of, "generated").values
        value = self.scale * float(np.mean(rows))
        return MetricResult({name: self.score("{name}", value, None, "none", len(rows))})
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng, records = tmp_path_factory.mktemp("clips"), np.random.default_rng(0), []
    for number, scene in enumerate(all_scenes()[:6]):
        fps = (4.0, 8.0, 16.0)[number % 3]
        write_lossless(folder / f"{number}.mkv", render(scene, rng.uniform(0.25, 0.75, (9, 2)), 16), fps)
        words = caption(scene, number)
        records.append(ClipRecord(f"{number}", f"{number}.mkv", fps, words, scene.attributes(), seed=number))
    write_manifest(folder, records)
    return folder


@pytest.fixture
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "mylab_of_this_test"
    (tmp_path / f"{name}.py").write_text(MYLAB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(allowed, "_allowed", {})
    yield name
    sys.modules.pop(name, None)


def written(folder: Path, extractor: str, metrics: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(
        textwrap.dedent(f"""
        frames: 4
        fps: [8]
        stride: null
        resize: []
        generated: {{clips: null, start: first}}
        real: null
        seed: 0
        batch: 2
        extractors: {{colors: {{kind: {extractor}}}}}
        metrics: {{{metrics}}}
        """)
    )
    return file


def in_memory(count: int = 3) -> list[Clip]:
    rng = np.random.default_rng(0)
    return [Clip(f"{i}", rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), 8.0) for i in range(count)]


def shown(scores: dict[str, Any]) -> dict[str, Number]:
    return {
        name: Number(None if one["better"] == "neither" else one["better"], one["unit"]) for name, one in scores.items()
    }


def as_dicts(scores: dict[str, Score]) -> dict[str, Any]:
    return {name: score.to_dict() for name, score in scores.items()}


def test_an_evaluation_gives_the_numbers_that_its_metrics_declare(clips: Path) -> None:
    assert PROTOCOL.real is not None
    protocol = replace(PROTOCOL, real=replace(PROTOCOL.real, clips=6))
    found = evaluate(clips, clips, protocol, force=True)["metrics"]

    assert shown(found) == protocol.numbers()


def test_motion_gives_the_numbers_it_declares() -> None:
    values, fps = np.random.default_rng(0).uniform(1, 2, (6, len(NAMES))), np.array([4.0, 8.0, 16.0] * 2)
    found = MotionSummary.summarize(values, fps, list("aabbcc"), by_rate=True)

    assert shown(as_dicts(found)) == MotionSummary.declared("any", [4, 8, 16])


@pytest.mark.parametrize(
    ("metric", "rows"),
    [
        (InceptionScore("c3d", splits=1), np.full((4, 1, 2), 0.5)),
        (Ghosts("areas", every=2), np.ones((4, 5, 1))),
        (FrameConsistency("clip"), np.ones((4, 5, 3))),
    ],
)
def test_a_metric_of_one_number_gives_the_number_it_declares(metric: Metric, rows: np.ndarray) -> None:
    features = Features(list("abcd"), list("abcd"), rows)
    extracted: Any = SimpleNamespace(features=lambda extractor, side: features, cuts=lambda side: [1])
    found = dict(metric.measure("mine", extracted).scores)

    assert shown(as_dicts(found)) == metric.declared("mine", [])


@pytest.mark.parametrize(("metric", "law"), [(EasyShapesWorld, 1.0), (ShapesWorld, 0.0)])
def test_a_circle_that_falls_evenly_follows_the_law_of_level_easy_alone(metric: type[ShapesWorld], law: float) -> None:
    rng, times, names = np.random.default_rng(0), np.arange(9) / 8, list("abc")
    tracks = np.zeros((3, 9, 3))
    tracks[..., :2] = [sample_motion("fall", rng, 1.0).at(times) for _ in names]
    rows = {"tracks": tracks, "image": np.zeros((3, 9, 32), np.float32)}
    source = SimpleNamespace(attributes={"colour": "red", "shape": "circle"})
    cuts = [SimpleNamespace(id=name, fps=8.0, source=source) for name in names]
    extracted: Any = SimpleNamespace(
        features=lambda extractor, side: Features(names, names, rows[extractor]),
        network=lambda extractor: ShapesImage(),
        cuts=lambda side: cuts if side == "generated" else [],
        rates=(8.0,),
    )

    found = metric("image", "tracks").measure("any", extracted).scores

    assert found["law"].value == law
    assert shown(as_dicts(found)) == metric.declared("any", [8])


def test_every_shipped_metric_is_covered_by_the_tests_above() -> None:
    tested = {"motion", "inception-score", "ghosts", "frame-consistency", "psnr", "ssim", "lpips", EasyShapesWorld.kind}
    tested.add(Outlines.kind)  # in test_outlines.py
    in_tests = {type(metric).kind for metric in PROTOCOL.metrics.values()} | tested

    assert set(known_kinds("evaluation.metrics", Metric)) == in_tests
    assert all(load_protocol(name).numbers() for name in known_protocols())


def test_a_metric_of_an_allowed_package_is_one_file_and_a_line_of_yaml(tmp_path: Path, mylab: str) -> None:
    allow([mylab])
    metrics = f"bright: {{kind: {mylab}.Brightness, of: colors, scale: 2.0}}"
    protocol = load_protocol(written(tmp_path, f"{mylab}.MeanColorSettings", metrics))
    clips = in_memory()
    results = evaluate(clips, None, protocol)

    expected = 2 * np.mean([clip.pixels.mean() for clip in clips])
    assert results["metrics"]["bright"]["value"] == pytest.approx(expected)
    assert shown(results["metrics"]) == protocol.numbers() == {"bright": Number("higher", "gray levels")}
    assert results["protocol"]["metrics"]["bright"]["kind"] == f"{mylab}.Brightness"
    assert len(results["protocol"]["metrics"]["bright"]["source_sha256"]) == 64


def test_a_new_extractor_serves_the_shipped_metrics_that_its_base_class_fits(tmp_path: Path, mylab: str) -> None:
    allow([mylab])
    text = written(tmp_path, f"{mylab}.MeanColorSettings", "fvd-colors: {kind: frechet, of: colors, divisor: n-1}")
    real = "real: {clips: 8, start: first, split: val, choice: shuffled, repeat: false, fewer: false}"
    text.write_text(text.read_text().replace("real: null", real))
    clips = in_memory(8)

    assert evaluate(clips, clips, text)["metrics"]["fvd-colors"]["value"] == pytest.approx(0.0, abs=1e-6)
    text.write_text(
        text.read_text().replace("{kind: frechet, of: colors, divisor: n-1}", "{kind: clipsim, of: colors}")
    )
    with pytest.raises(UserError, match="does not fit; it must be a TextExtractor"):
        load_protocol(text)


def test_a_package_that_is_not_allowed_is_not_imported(tmp_path: Path, mylab: str) -> None:
    metrics = f"bright: {{kind: {mylab}.Brightness, of: colors}}"
    with pytest.raises(UserError, match=f"`{mylab}` is not allowed"):
        load_protocol(written(tmp_path, f"{mylab}.MeanColorSettings", metrics))
    assert mylab not in sys.modules


def test_ghosts_can_be_asked_for_by_a_protocol(tmp_path: Path) -> None:
    text = (FOLDER / "shapes-tiny.yaml").read_text()
    extractors = "  tracks: {kind: shapes-tracks}\n  areas: {kind: shapes-areas}\n"
    text = text.replace("  tracks: {kind: shapes-tracks}\n", extractors)
    file = tmp_path / "mine.yaml"
    file.write_text(text + "  shapes-ghosts: {kind: ghosts, of: areas, every: 4}\n")

    assert load_protocol(file).numbers()["shapes-ghosts"].better == "lower"


class Odd(Metric):
    """Returns whatever it was given."""

    numbers = {"{name}": Number(None, "")}
    roles = {}

    def __init__(self, value: Any, result: Any = None, suffix: str = "") -> None:
        self.value, self.result, self.suffix = value, result, suffix

    def measure(self, name: str, extracted: Any) -> Any:
        score = self.score("{name}", self.value, None, "none", 1)
        return self.result if self.result is not None else MetricResult({f"{name}{self.suffix}": score})


NOTHING: Any = SimpleNamespace(rates=())


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array([2.0]), torch.tensor(2.0), torch.tensor([[2]])])
def test_a_tensor_or_array_of_one_number_is_a_number(value: Any) -> None:
    found = Odd(value).measured("mine", NOTHING).scores["mine"].to_dict()["value"]

    assert found == 2 and isinstance(found, int | float)


@pytest.mark.parametrize("value", [None, float("nan"), torch.tensor(float("nan"))])
def test_none_and_nan_are_no_value(value: Any) -> None:
    assert np.isnan(Odd(value).measured("mine", NOTHING).scores["mine"].value)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Odd(torch.zeros(2)), r"metric `mine` \(Odd\): `mine`: must be one number, got tensor\(\[0., 0.\]\)"),
        (Odd("high"), r"metric `mine` \(Odd\): `mine`: must be one number, got high"),
        (Odd(1.0, 1.0), r"metric `mine` \(Odd\): `measure` must return a MetricResult, got a float"),
        (Odd(1.0, suffix="-x"), r"metric `mine` \(Odd\): gives `mine-x` and declares mine; add it to `numbers`"),
    ],
)
def test_anything_else_is_an_error_that_names_the_metric(metric: Metric, message: str) -> None:
    with pytest.raises(UserError, match=message):
        metric.measured("mine", NOTHING)
