"""Benchmarks run, small, and their tables are whole."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from mav_lightning.common.video_encoding import encode_mp4, write_lossless

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_cascade_benchmark_prints_its_tables(cascade_folder: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "cascade.py"), str(cascade_folder), "--clips", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows.count("truth") == 2 and {"network", "linear", "repeat", "decoder", "independent noise"} <= set(rows)


@pytest.mark.slow
def test_the_memory_benchmark_prints_a_peak() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--frames", "1", "--chunk", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\| (\d) frames, [\d.]+ MiB of pixels \| [\d.]+ [MG]iB, [\d.]+ m?s \|", done.stdout) == ["1"]


@pytest.mark.slow
def test_the_checkpoint_benchmark_prints_for_how_long_training_is_held_up() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "checkpoints.py"), "--layers", "1", "--times", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert {name: len(times) for name, times in printed["each"].items()} == {
        "at once": 2, "thread": 2, "thread, until written": 2
    }  # fmt: skip


@pytest.mark.slow
def test_the_benchmark_of_the_guards_prints_a_row_for_each() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "guards.py"), "--rounds", "2", "--batch-size", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\| [a-z -]+ \| -?[\d.]+ \| -?[\d.]+% \|$", done.stdout, re.MULTILINE)) == 7


@pytest.mark.slow
def test_the_simulation_of_intervals_prints_a_coverage_for_each_kind() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "intervals.py"), "--repetitions", "10", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| (8|32) ", line)]
    assert len(rows) == 10 and all(len(re.findall(r": [\d.]+ %", row)) == 4 for row in rows)


@pytest.mark.slow
def test_the_distance_benchmark_agrees_with_the_recipe_beside_it() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "distance.py"), "--dimensions", "16", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (off,) = re.findall(r"\| 16 \| .* \| (\S+) \|", done.stdout)
    assert float(off) < 1e-9


def test_of_studies_with_nothing_to_find_no_more_than_5_percent_find_something() -> None:
    """Within what chance allows of 2,000 studies; `benchmarks/null_study.py` itself draws 10,000 of each kind."""
    null_study = runpy.run_path(str(ROOT / "benchmarks" / "null_study.py"))
    for seeds in null_study["SEEDS"]:
        for variants in null_study["VARIANTS"]:
            shares = null_study["false_stars"](null_study["null_studies"](seeds, variants, 2000, 1.0, 0.5))
            assert shares["exact, Holm"] <= 0.065 and shares["Student, Holm"] <= 0.065, (seeds, variants)
            if variants > 3:
                assert shares["Student, uncorrected"] > 0.1, "without a correction the test could not fail"


def test_the_responses_to_altered_clips_are_those_of_what_was_altered(tmp_path: Path) -> None:
    y, x = np.mgrid[:12, :64]
    for number in range(7):  # the last is another clip of the sixth source
        name = f"v_Waves_g{min(number, 5):02d}_c{number:02d}.mp4"
        phases = np.arange(80)[:, None, None] / 3 + number
        waves = 128 + 100 * np.sin(x / (3 + number) + phases) * np.cos(y / (2 + number))
        frames = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
        (tmp_path / name).write_bytes(encode_mp4(frames, 25))
    run = runpy.run_path(str(ROOT / "benchmarks" / "responses.py"))[
        "run"
    ]  # importing all of it again would take longer
    told = "\n".join(run(tmp_path, tmp_path / "work", i3d=False))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines() if "|" in line]
    (_, _, *distances), (_, _, *motion) = lines[:16], lines[16:]
    fid = {row[0]: row[5] for row in distances}
    frozen = {row[0]: row[-1] for row in motion}["first frame, frozen"]
    assert told.startswith("3 and 3 source videos") and len(distances) == len(motion) == 14
    assert [row[1] for row in distances[:4]] == ["8 / 6", "6 / 6", "6 / 4", "6 / 6"]
    assert fid["shuffled"] == fid["as filmed"] != fid["first frame, frozen"] and frozen.split()[0] == "1"


def test_published_protocols_give_their_networks_what_the_original_procedures_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        clip = rng.integers(0, 256, (14 + number % 6, 24, 32, 3)).astype(np.uint8)  # some are too short
        write_lossless(tmp_path / f"v_{number:02}.mkv", clip, 25.0)
    rows = runpy.run_path(str(ROOT / "benchmarks" / "protocol_frames.py"))["rows"]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows(tmp_path, 7) if line.startswith("| `")]
    assert len(table) == 16
    assert {name: largest for name, largest, *_ in table if float(largest) > 1e-4} == {}
    assert not [real for *_, real in table if "OTHERS" in real]


@pytest.mark.slow
def test_the_responses_of_shapes_world_are_those_of_what_was_altered() -> None:
    told = list(runpy.run_path(str(ROOT / "benchmarks" / "shapes_responses.py"))["lines"](36, [["law", "psnr"]]))
    table = {cells[1]: cells[2:4] for line in told if len(cells := [cell.strip() for cell in line.split("|")]) > 3}
    assert len(table) == 11 + 2
    assert table["as rendered"] == ["1 (0.904–1)", "100 (100–100)"]
    assert all(table[row][0].startswith("0 ") for row in ("half speed", "shuffled", "first frame, frozen"))


@pytest.mark.slow
def test_the_scoring_benchmark_agrees_with_the_recipe_beside_it() -> None:
    small = ["--clips", "40", "--frames", "4", "--size", "16", "--shrink", "16", "--no-extractors"]
    command = [sys.executable, str(ROOT / "benchmarks" / "scoring.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\| (\w+) \|", done.stdout, re.M)[:3] == ["features", "distances", "both"]
    (off,) = re.findall(r"difference of a value: (\S+)", done.stdout)
    assert float(off) < 1e-9


def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"))["main"]
    with pytest.raises(typer.Exit) as ended:
        benchmark(tmp_path / "gpu.json", ["correctness", "certificate", "steps"])
    assert ended.value.exit_code == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    output, gradients = found["correctness"]["found"]["relative errors of output and gradients"]["float32"]
    assert 0 < output < 1e-5 and 0 < gradients < 1e-5
    assert found["certificate"]["found"]["relative difference"] < 1e-5
    assert found["steps"]["found"][0]["scale"] == "tiny"


@pytest.mark.slow
def test_the_gpu_benchmark_generates_and_resumes_on_a_cpu(tmp_path: Path) -> None:
    parts = ["--part", "cascade", "--part", "resume"]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(tmp_path / "gpu.json"), *parts]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["resume"]["found"]["holds"]


def test_the_benchmark_of_peers_divides_their_steps_by_this_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    peers = runpy.run_path(str(ROOT / "benchmarks" / "peers.py"))
    names = ["mav-lightning", "diffusers UNetMotionModel"]
    sizes = {name: {"parameters": 10_000_000, "flops": 4e10} for name in names}
    cell = {"match": "flops", "shape": "16x32", "batch": 1}
    steps = cell | {"work": "training", "flops": 1e9, "of": {names[0]: [1.0, 2.0, 4.0], names[1]: [3.0, 4.0, 8.0]}}
    memory = cell | {"work": "memory", "of": {names[0]: 2**20, names[1]: 3 * 2**20}}
    lines = peers["table"]([steps, memory], names, "flops", sizes, 2e9).splitlines()
    assert lines[-2] == "| training | 16 × 32² | 1 | 2.00 (2.00–3.00) | 2.00 s, 25 % of matrix products |"
    assert lines[-1] == "| memory | 16 × 32² | 1 | 3.00 | 1.00 MiB |"


def test_peers_are_built_at_the_size_that_comes_closest_to_the_target() -> None:
    networks = runpy.run_path(str(ROOT / "benchmarks" / "peer_networks.py"))
    sizes = [(width, second) for width in range(8, 41, 8) for second in range(1, 20)]
    linear = networks["Peer"]("any", lambda width, second: torch.nn.Linear(width, second, bias=False), lambda: sizes)
    for target in (9, 100, 333, 500):
        _, found = networks["matched"](linear, target, networks["parameters"])
        closest = min(abs(width * second / target - 1) for width, second in sizes)
        assert abs(found["off"]) <= max(closest, 0.05), (target, found)


@pytest.mark.slow
def test_the_benchmark_of_extended_networks_computes_costs_without_weights() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "grown.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| Karlo", "| Stable"))]
    assert len(rows) == 8
    documented = (ROOT / "docs" / "diffusers.md").read_text()
    assert all(row in documented for row in rows)
