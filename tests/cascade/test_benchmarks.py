"""Benchmarks run, on a cascade of dolls, and their tables are whole."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_cascade_benchmark_prints_its_tables(cascade_folder: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "cascade.py"), str(cascade_folder), "--clips", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows.count("truth") == 2 and {"network", "linear", "repeat", "decoder", "independent noise"} <= set(rows)


def test_the_memory_benchmark_prints_a_peak_for_each_length_and_chunk() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--frames", "1", "--frames", "2", "--chunk", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\| (\d) frames, [\d.]+ GiB of pixels \| [\d.]+ GiB, \d+ s \|", done.stdout) == ["1", "2"]
