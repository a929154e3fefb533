"""Commands on disks that are too small end in one message, and succeed once there is room."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("full_disk.py")


@pytest.mark.slow
def test_every_kind_of_file_without_room_is_one_message(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=False).returncode:
        pytest.skip("this process may not mount a disk")
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    command = [sys.executable, str(SCRIPT), "--disks", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
