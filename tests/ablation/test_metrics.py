"""A study asks for numbers that its protocol gives, in the direction that they have."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evaluation import evaluate, load_protocol
from evaluation.motion.extractor import NAMES
from evaluation.protocol import known_protocols
from evaluation.scores.base import Features
from evaluation.scores.inception import InceptionScore
from evaluation.scores.kinds import KINDS
from evaluation.scores.motion import motion_scores
from mav_lightning.ablation.metrics import GIVEN, numbers
from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import Plan
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.shapes_world.scene import all_scenes, caption, render
from mav_lightning.common.video import write_lossless

Write = Callable[..., Path]
PROTOCOL = load_protocol("shapes-tiny")


def plan(tmp_path: Path, *lines: str) -> Plan:
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(["extends: ablation/quick.yaml", "seeds: [0]", *lines]))
    return load_plan(file)


def directions(scores: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if one["better"] == "neither" else one["better"] for name, one in scores.items()}


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


def test_an_evaluation_gives_the_numbers_that_are_known_before_it(clips: Path) -> None:
    assert PROTOCOL.real is not None
    protocol = replace(PROTOCOL, real=replace(PROTOCOL.real, clips=6))
    found = evaluate(clips, clips, protocol, force=True)["metrics"]

    assert directions(found) == numbers(protocol.to_dict())


def test_motion_is_reported_as_it_is_known_before() -> None:
    values, fps = np.random.default_rng(0).uniform(1, 2, (6, len(NAMES))), np.array([4.0, 8.0, 16.0] * 2)
    found = motion_scores(values, fps, list("aabbcc"), asked=True)

    known = numbers({"fps": [4, 8, 16], "metrics": {"any": {"kind": "motion", "of": "motion"}}})
    assert directions({name: score.to_dict() for name, score in found.items()}) == known


def test_an_inception_score_is_reported_as_it_is_known_before() -> None:
    features = Features(list("abcd"), list("abcd"), np.full((4, 1, 2), 0.5))
    measured: Any = SimpleNamespace(features=lambda extractor, side: features)
    found = InceptionScore("c3d", splits=1).outcome("is-c3d", measured).scores

    known = numbers({"fps": None, "metrics": {"is-c3d": {"kind": "inception-score", "of": "c3d", "splits": 1}}})
    assert directions({name: score.to_dict() for name, score in found.items()}) == known


def test_every_kind_of_metric_is_known() -> None:
    assert set(GIVEN) == set(KINDS)
    assert all(numbers(load_protocol(name).to_dict()) for name in known_protocols())
    assert numbers({"metrics": {"mine": {"kind": "of another day"}}}) is None


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "{name: shapes-fvdd, better: lower}",
            "mine: metric `shapes-fvdd`: protocol shapes-tiny gives no such number; did you mean `shapes-fvd`?; it "
            "gives shapes-fvd, shapes-fvd-inf, shapes-kvd,",
        ),
        (
            "{name: shapes-fvd, better: higher}",
            "mine: metric `shapes-fvd`: `better` is higher, but of this number lower is better; write {name: "
            "shapes-fvd, better: lower}.",
        ),
        ("{name: speed-ratio@8, better: higher}", "`better` is higher, but of this number one is better"),
        ("{name: speed-ratio@9, better: one}", "no such number; did you mean `speed-ratio@"),
    ],
)
def test_a_metric_that_will_not_be_there_is_reported_before_anything_runs(
    tmp_path: Path, metric: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(tmp_path, f"metrics: [{{name: law, better: higher}}, {metric}]")

    assert message in str(caught.value)


def test_the_protocol_of_the_study_says_which_metrics_there_are(tmp_path: Path) -> None:
    only = "metrics: [{name: fid-clean, better: lower}, {name: fid-clean-inf, better: lower}]"

    assert plan(tmp_path, "protocol: fid-clean", only).study.protocol == "fid-clean"
    with pytest.raises(UserError, match="metric `fid-clean`: protocol shapes-tiny gives no such number"):
        plan(tmp_path, only)


def test_at_each_rate_of_the_protocol_there_is_a_number(tmp_path: Path) -> None:
    asked = ", ".join(f"{{name: speed-ratio@{fps}, better: one}}" for fps in (4, 8, 16))

    assert len(plan(tmp_path, f"metrics: [{asked}]").study.metrics) == 3


def test_without_a_protocol_any_metric_may_be_asked_for(write_study: Write) -> None:
    study = load_plan(write_study(("shapes-fvd", "a-number-of-ones-own"))).study

    assert study.metrics[0].name == "a-number-of-ones-own"
