"""Signals that ask a process to save and end."""

import signal

__all__ = ["STOP_SIGNALS", "catchable"]

# a scheduler, Ctrl-C, a closed terminal, and SLURM's warnings before the time is up
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def catchable() -> list[signal.Signals]:
    """Return the stop signals that this process does not ignore; ``nohup`` has it ignore SIGHUP."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
