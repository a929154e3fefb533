"""``kill -9`` at random instants after a checkpoint changes no bit of the result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("random_kills.py")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_weights_states_and_curves_are_those_of_an_undisturbed_training(ranks: int, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "10", "--ranks", str(ranks)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert sum(count for ending, count in result["endings"].items() if ending.startswith("killed")) >= 10
    assert result["differences"] == []
