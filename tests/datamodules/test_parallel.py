"""Processes that work for this one end with it."""

import contextlib
import os
import signal
import subprocess
import sys

KILLED_WHILE_STARTING_WORKERS = """
import os, time
from torch.utils.data import DataLoader
from datamodules.parallel import end_with_parent

def begin_late(worker):
    while os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent(worker)

parent = os.getpid()
workers = iter(DataLoader(range(9), num_workers=2, worker_init_fn=begin_late))
os._exit(0)
"""


def test_workers_that_lose_their_parent_before_they_look_for_it_end() -> None:
    script = [sys.executable, "-c", KILLED_WHILE_STARTING_WORKERS]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, start_new_session=True)
    try:
        process.communicate(timeout=60)  # until the workers, too, have closed the pipe
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
