"""Benchmarks run, small, and their tables are whole."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_cascade_benchmark_prints_its_tables(cascade_folder: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "cascade.py"), str(cascade_folder), "--clips", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows.count("truth") == 2 and {"network", "linear", "repeat", "decoder", "independent noise"} <= set(rows)


def test_the_memory_benchmark_prints_a_peak() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--frames", "1", "--chunk", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\| (\d) frames, [\d.]+ GiB of pixels \| [\d.]+ GiB, \d+ s \|", done.stdout) == ["1"]


def test_the_simulation_of_intervals_prints_a_coverage_for_each_kind() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "intervals.py"), "--repetitions", "10", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| (8|32) ", line)]
    assert len(rows) == 10 and all(len(re.findall(r": [\d.]+ %", row)) == 4 for row in rows)


def test_the_distance_benchmark_agrees_with_the_recipe_beside_it() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "distance.py"), "--dimensions", "16", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (off,) = re.findall(r"\| 16 \| .* \| (\S+) \|", done.stdout)
    assert float(off) < 1e-9
