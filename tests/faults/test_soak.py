"""Trainings through random faults: all end with the same bits, and the process does not grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("soak.py")


@pytest.mark.slow
def test_trainings_through_random_faults_end_alike_and_leave_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--minutes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1200)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["wrong"] == []
