"""Numbers do not depend on batches, order, processes, repeats, kills, or on what was kept from before."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import Evaluation, Protocol, load_protocol
from evaluation.metrics import FrechetDistance, KernelDistance
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import all_scenes, caption, render
from mav_lightning.common.video_encoding import write_lossless

N = 40


def protocol(batch: int = 16) -> Protocol:
    shipped = load_protocol("shapes-tiny")
    assert shipped.real
    return replace(shipped, batch=batch, real=replace(shipped.real, clips=N))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated and real clips of Shapes World."""
    root, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for side in ("generated", "real"):
        records = []
        (root / side).mkdir()
        for number in range(N):
            scene, fps = all_scenes()[number * 5 % 72], (4.0, 8.0, 16.0)[number % 3]
            frames, rate = (9, fps) if side == "generated" else (40, 16.0)
            motion = sample_motion(LAW_OF_SHAPE[scene.shape], rng)
            write_lossless(
                root / side / f"{number:02}.mkv", render(scene, motion.at(np.arange(frames) / rate), 16), rate
            )
            records.append(
                ClipRecord(f"{number:02}", f"{number:02}.mkv", fps, caption(scene, number), scene.attributes())
            )
        if side == "generated":
            write_manifest(root / side, records)
    return root


def planned(clips: Path, features: Path, batch: int = 16) -> Evaluation:
    return Evaluation(clips / "generated", clips / "real", protocol(batch), features=features, workers=2)


@pytest.fixture(scope="module")
def results(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one undisturbed run."""
    return planned(clips, tmp_path_factory.mktemp("features")).results()


def values(results: dict[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in results["metrics"].items()}


@pytest.mark.parametrize("processes", [2, 3])
def test_the_processes_that_share_the_clips_change_no_digit(
    clips: Path, tmp_path: Path, results: dict[str, Any], processes: int
) -> None:
    for rank in range(processes):
        extraction = planned(clips, tmp_path).extraction
        extraction.run(rank=rank, processes=processes)

    last = planned(clips, tmp_path)

    assert last.extraction.missing() == []
    assert last.results() == results


def test_shares_are_exact_whatever_is_there_already(clips: Path, tmp_path: Path) -> None:
    extraction = planned(clips, tmp_path).extraction
    wanted = {cut.id: rank for rank in range(3) for cut, _ in extraction.missing(rank, 3)}
    assert len(wanted) == 2 * N
    for reading in extraction.readings(extraction.missing()[:23]):
        extraction.take(reading)
    extraction.finish()

    left = [(cut.id, rank) for rank in range(3) for cut, _ in planned(clips, tmp_path).extraction.missing(rank, 3)]

    assert len(left) == 2 * N - 23
    assert all(wanted[name] == rank for name, rank in left)


class Killed(BaseException):
    """Nothing catches it."""


def test_a_killed_run_goes_on_where_it_was_to_the_same_digits(
    clips: Path, tmp_path: Path, results: dict[str, Any]
) -> None:
    seen: list[int] = []

    def kill(items: Iterable[Any], total: int, description: str) -> Iterator[Any]:
        for number, item in enumerate(items):
            if number == 50:
                raise Killed
            yield item

    def count(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
        seen.append(total)
        return items

    with pytest.raises(Killed):
        planned(clips, tmp_path).results(kill)

    assert planned(clips, tmp_path).results(count) == results
    assert planned(clips, tmp_path).results(count) == results
    # What reads both sides had kept three batches of 16; what reads only the 40 generated clips, two.
    assert seen == [(2 * N - 48) + (N - 32), 0], "the second time nothing is read"


def test_another_metric_of_the_same_extractor_reads_no_clip(clips: Path, tmp_path: Path) -> None:
    known = protocol()
    first = replace(known, metrics={name: one for name, one in known.metrics.items() if name != "shapes-kvd"})
    Evaluation(clips / "generated", clips / "real", first, features=tmp_path).results()

    assert planned(clips, tmp_path).extraction.missing() == []


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_batch_moves_what_float32_kernels_round_and_no_more(
    clips: Path, tmp_path: Path, results: dict[str, Any], batch: int
) -> None:
    found, wanted = values(planned(clips, tmp_path, batch).results()), values(results)

    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=1e-5, abs=1e-9), name


def test_from_kept_features_order_batches_and_repeats_change_no_digit(clips: Path, tmp_path: Path) -> None:
    evaluation = planned(clips, tmp_path)
    evaluation.results()
    sides = {side: evaluation.features("video", side) for side in ("generated", "real")}  # type: ignore[arg-type]

    def distance(batch: int, seed: int, repeated: int = 0) -> tuple[float, ...]:
        metric, kernel, rng = FrechetDistance("shapes-fvd"), KernelDistance("shapes-kvd"), np.random.default_rng(seed)
        for side, found in sides.items():
            order = rng.permutation(N).tolist()
            order += order[:repeated]
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                ids, groups = [found.ids[row] for row in rows], [found.groups[row] for row in rows]
                for one in (metric, kernel):
                    one.update(torch.from_numpy(found.values[rows]), ids, real=side == "real", groups=groups)
        jackknife = metric.jackknife()
        assert jackknife
        return float(metric.compute()), float(kernel.compute()), jackknife.error

    first = distance(64, seed=0)
    for other in (distance(1, seed=1), distance(7, seed=2), distance(64, seed=3, repeated=9)):
        assert other == pytest.approx(first, rel=1e-9)


def test_clips_of_equal_content_count_each(clips: Path, tmp_path: Path, results: dict[str, Any]) -> None:
    """Mode collapse must not hide: a clip that comes again under another id is another clip."""
    copied = tmp_path / "generated"
    copied.mkdir()
    for number in range(N):
        (copied / f"{number:02}.mkv").write_bytes((clips / "generated" / "00.mkv").read_bytes())
    scene = all_scenes()[0]
    facts = {"prompt": caption(scene, 0), "attributes": scene.attributes()}
    write_manifest(copied, [ClipRecord(f"{n:02}", f"{n:02}.mkv", 4.0, **facts) for n in range(N)])  # type: ignore[arg-type]

    collapsed = Evaluation(copied, clips / "real", protocol(), features=tmp_path / "features").results()

    assert collapsed["n"]["generated"] == N
    assert collapsed["metrics"]["shapes-fvd"]["value"] > 3 * results["metrics"]["shapes-fvd"]["value"]


def command(clips: Path, folder: Path, *options: str) -> list[str]:
    sides = ["--generated", str(clips / "generated"), "--real", str(clips / "real")]
    kept = ["--features", str(folder / "features"), "--out", str(folder / "results.json")]
    return [sys.executable, "-m", "mav_lightning", "evaluate", *sides, *kept, *options]


@pytest.mark.slow
def test_two_processes_of_the_command_write_the_same_bytes_as_one(clips: Path, tmp_path: Path) -> None:
    for name, devices in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        subprocess.run(command(clips, tmp_path / name, "--devices", devices), check=True, capture_output=True)

    one, two = ((tmp_path / name / "results.json").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
def test_kill_9_at_any_time_changes_no_byte(clips: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    subprocess.run(command(clips, whole), check=True, capture_output=True)
    kept: set[Path] = set()
    for at_least in (1, 4, 9):
        running = subprocess.Popen(command(clips, tmp_path / "killed"), stdout=subprocess.DEVNULL)
        while running.poll() is None and len(kept) < at_least:
            kept = set((tmp_path / "killed").rglob("*.safetensors"))
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL, "it was still at work"
    assert len(kept) >= 9

    subprocess.run(command(clips, tmp_path / "killed"), check=True, capture_output=True)

    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, tmp_path / "killed")]
    assert results[0] == results[1]
