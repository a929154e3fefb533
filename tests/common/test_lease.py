import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import INHERITED, claim, claimed, held, holder

# claims a folder, hands the claim to a child that outlives it, and waits to be killed
PARENT = """
import signal, subprocess, sys
from pathlib import Path
from mav_lightning.common.lease import claim
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


def test_a_claim_without_room_is_one_message_and_leaves_the_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(UserError, match=f"^{tmp_path}/lease.json: the disk is full"):
            claim(tmp_path)
    assert not held(tmp_path)
    with claimed(tmp_path):
        assert held(tmp_path)


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


def test_a_process_that_inherits_a_claim_may_take_it_and_no_other_process(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    program = "import sys; from pathlib import Path; from mav_lightning.common.lease import claim\n"
    program += "print(claim(Path(sys.argv[1])) is not None)"
    command, environment = [sys.executable, "-c", program], {**os.environ, INHERITED: str(lease.descriptor)}

    def takes(folder: Path, **options: Any) -> str:
        folder.mkdir(exist_ok=True)
        return subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True, **options).stdout

    assert takes(tmp_path, env=environment, pass_fds=(lease.descriptor,)) == "True\n"
    assert held(tmp_path), "its end does not release the claim"
    assert takes(tmp_path) == takes(tmp_path, env=environment) == "False\n"
    assert takes(tmp_path / "other", env=environment, pass_fds=(lease.descriptor,)) == "True\n"
    lease.release()


def test_a_forked_worker_does_not_hold_the_claim_of_its_killed_parent(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        claim(tmp_path)
        worker = os.fork()
        if worker:
            os.write(writer, f"{worker}\n".encode())
        signal.pause()
    with os.fdopen(reader) as lines:
        worker = int(lines.readline())
        assert held(tmp_path)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert not held(tmp_path)
        os.kill(worker, signal.SIGKILL)
    os.close(writer)


def test_a_block_may_claim_its_folder_again_and_another_thread_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with claimed(tmp_path / "a"):
                pass
        except UserError as error:
            refused.append(str(error))

    with claimed(tmp_path / "a"), claimed(tmp_path / "a" / ".." / "a"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"is in use by process {os.getpid()}" in refused[0]
    assert not held(tmp_path / "a")


def test_a_link_in_place_of_the_lease_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("thesis")
    (tmp_path / "lease.json").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic links"):
        claim(tmp_path)
    assert (tmp_path / "theirs").read_text() == "thesis"
