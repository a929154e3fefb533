"""From two folders to results, on small sets."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation import evaluate, load_protocol
from evaluation.protocol import FOLDER
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import all_scenes, caption, render
from mav_lightning.common.video_encoding import encode_mp4, write_lossless

_SHIPPED = load_protocol("shapes-tiny")
assert _SHIPPED.real is not None
PROTOCOL = replace(_SHIPPED, real=replace(_SHIPPED.real, clips=48))


def write_generated(folder: Path, still: bool = False, count: int = 48, known: bool = True) -> Path:
    """Perfect clips, or their first frames repeated."""
    rng, records = np.random.default_rng(0), []
    folder.mkdir()
    for number in range(count):
        scene, fps = all_scenes()[number * 5 % 72], (4.0, 8.0, 16.0)[number % 3]
        seconds = np.zeros(9) if still else np.arange(9) / fps
        pixels = render(scene, sample_motion(LAW_OF_SHAPE[scene.shape], rng).at(seconds), 16)
        name = f"{number:03}"
        write_lossless(folder / f"{name}.mkv", pixels, fps)
        prompt, attributes = (caption(scene, number), scene.attributes()) if known else (None, {})
        records.append(ClipRecord(name, f"{name}.mkv", fps, prompt, attributes, seed=number))
    write_manifest(folder, records)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("real"), np.random.default_rng(1)
    for number in range(24):
        scene = all_scenes()[number * 3]
        motion = sample_motion(LAW_OF_SHAPE[scene.shape], rng)
        frames = render(scene, motion.at(np.arange(40) / 16), 32, supersample=2)
        (folder / f"{number:02}.mp4").write_bytes(encode_mp4(frames, 16))
    return folder


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated(tmp_path_factory.mktemp("perfect") / "clips")


@pytest.fixture(scope="module")
def results(perfect: Path, real: Path) -> dict[str, Any]:
    return evaluate(perfect, real, PROTOCOL)


def test_perfect_clips_score_what_they_should(results: dict[str, Any]) -> None:
    values = {name: score["value"] for name, score in results["metrics"].items()}

    assert values["law"] == values["law-seen"] == values["law-held-out"] == 1.0
    assert values["appearance"] >= 0.97
    assert values["flicker"] < 0.5
    for name in ("speed-ratio", "speed-ratio@4", "speed-ratio@8", "speed-ratio@16"):
        assert values[name] == pytest.approx(1.0, abs=0.02)
    assert 0.8 < values["arc-slope"] < 1.1


def test_still_clips_score_badly_on_motion_alone(tmp_path: Path, real: Path, results: dict[str, Any]) -> None:
    still = evaluate(write_generated(tmp_path / "still", still=True), real, PROTOCOL)["metrics"]
    moving = results["metrics"]

    assert still["law"]["value"] == 0.0
    assert still["arc-slope"]["value"] is None
    assert still["speed-ratio"]["value"] == 0.25
    assert still["appearance"]["value"] >= 0.97
    assert still["shapes-fvd"]["value"] > 2 * moving["shapes-fvd"]["value"]


def test_results_are_complete_and_plain(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert {"shapes-fvd", "shapes-fid", "shapes-clipsim", "law-forced-choice"} <= set(results["metrics"])
    for name, score in results["metrics"].items():
        assert set(score) == {"value", "interval", "interval_kind", "n", "better", "unit"}
        if name.endswith("-inf"):  # 48 real clips of fewer videos than there are features
            assert score["value"] is None and score["interval"] is None
        else:
            low, high = score["interval"]
            assert low <= score["value"] <= high
    assert set(results["by_fps"]) == {"4", "8", "16"}
    assert results["by_fps"]["4"]["n"] == 16
    assert results["clips"]["000"].keys() >= {"law", "law_residual", "appearance", "speed_ratio"}
    assert results["protocol"] == PROTOCOL.to_dict()
    assert results["n"] == {"generated": 48, "real": 48}
    assert results["reference"]["law"] is None  # plain videos: nobody knows what they show


def test_the_same_folders_give_the_same_digits(perfect: Path, real: Path, results: dict[str, Any]) -> None:
    assert evaluate(perfect, real, PROTOCOL) == results


def test_clips_that_nobody_described_get_distances_only(tmp_path: Path, real: Path) -> None:
    scores = evaluate(write_generated(tmp_path / "made", known=False), real, PROTOCOL)["metrics"]

    assert scores["shapes-fvd"]["value"] > 0
    assert [scores[name]["value"] for name in ("law", "appearance", "shapes-clipsim", "flicker")] == [None] * 4


def test_too_few_clips_are_refused_unless_forced(tmp_path: Path, real: Path) -> None:
    few = write_generated(tmp_path / "few", count=12)

    with pytest.raises(UserError, match=r"12 generated clips are too few: `shapes-fvd` needs 33"):
        evaluate(few, real, PROTOCOL)
    assert evaluate(few, real, PROTOCOL, force=True)["metrics"]["shapes-fvd"]["value"] > 0


def test_the_command_writes_results_and_leaves_nothing_else(tmp_path: Path, perfect: Path, real: Path) -> None:
    import typer

    from mav_lightning.cli.evaluate import evaluate as command

    app = typer.Typer()
    app.command()(command)
    out, mine = tmp_path / "deep" / "results.json", tmp_path / "mine.yaml"
    mine.write_text((FOLDER / "shapes-tiny.yaml").read_text().replace("clips: 288", "clips: 48"))
    folders = ["--generated", str(perfect), "--real", str(real)]

    done = CliRunner().invoke(app, [*folders, "--protocol", str(mine), "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert "shapes-fvd" in done.output
    assert json.loads(out.read_text())["metrics"]["law"]["value"] == 1.0
    assert list(out.parent.iterdir()) == [out]
