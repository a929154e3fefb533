"""Run a command that dies with its parent: ``python parent_guard.py PARENT_PID COMMAND [ARGUMENT…]``.

Executed as a file in an isolated interpreter, so that it starts in milliseconds and imports nothing of this project. If
the kernel cannot tie a child to its parent (anything but Linux), an orphan runs to its end; its inherited lease keeps
other processes away.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then replace it by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the tie was made
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
