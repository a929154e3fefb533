"""``kill -9`` at random instants of a study starts no finished stage again and changes no bit of a result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("study_kills.py")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["local", "drivers", "machines"])
def test_stages_are_done_once_and_results_are_those_of_an_undisturbed_study(way: str, tmp_path: Path) -> None:
    if way == "machines" and (sys.platform != "linux" or os.geteuid() != 0):
        pytest.skip("only root may create network namespaces")
    command = [sys.executable, str(SCRIPT), way, "--kills", "6"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert sum(result["kills"].values()) >= 6 and result["results"] > 0
    assert result["faults"] == []
