"""``kill -9`` while checkpoints are written leaves at least two that verify and hold the bits of their steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kills_in_writing.py")


@pytest.mark.slow
@pytest.mark.parametrize("folder", [None, "/dev/shm"], ids=["disk", "memory"])
def test_two_checkpoints_are_left_by_every_kill(folder: str | None, tmp_path: Path) -> None:
    if folder is not None and not os.access(folder, os.W_OK):
        pytest.skip(f"there is no {folder}")
    command = [sys.executable, str(SCRIPT), "--kills", "20", "--folder", folder or str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["faults"] == []
