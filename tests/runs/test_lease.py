import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from mav_lightning.runs.lease import claim, held, holder

# claims a folder, hands the claim to a child that outlives it, and waits to be killed
PARENT = """
import signal, subprocess, sys
from pathlib import Path
from mav_lightning.runs.lease import claim
lease = claim(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "600"], pass_fds=(lease.descriptor,))
print(child.pid, flush=True)
signal.pause()
"""


def test_a_claim_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    assert not held(tmp_path)
    lease = claim(tmp_path)
    assert lease is not None
    assert held(tmp_path)
    assert claim(tmp_path) is None

    lease.release()

    assert not held(tmp_path)
    again = claim(tmp_path)
    assert again is not None
    again.release()


def test_looking_does_not_disturb_a_claim(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    assert all(held(tmp_path) for _ in range(3))
    lease.release()


def test_looking_does_not_keep_anybody_from_claiming(tmp_path: Path) -> None:
    stop, claimed = threading.Event(), 0

    def look() -> None:
        while not stop.is_set():
            held(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(300):
        if lease := claim(tmp_path):
            lease.release()
            claimed += 1
    stop.set()
    for looker in lookers:
        looker.join()

    assert claimed == 300


def test_the_holder_is_told_with_its_last_sign_of_life(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    os.utime(tmp_path / "lease.json", (0, 0))
    lease.beat()

    assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
    assert holder(tmp_path).endswith("last active 0 s ago")
    lease.release()


def test_an_orphan_holds_the_claim_of_its_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    try:
        assert claim(tmp_path) is None
    finally:
        os.kill(orphan, signal.SIGKILL)
    parent.stdout.read()  # ends when the last process that could write has ended

    lease = claim(tmp_path)
    assert lease is not None
    lease.release()
