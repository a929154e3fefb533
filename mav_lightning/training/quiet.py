"""Suppression of messages of libraries that do not apply here."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_lightning"]

IRRELEVANT_WARNINGS = (
    r".*treespec, LeafSpec.*",  # a deprecation between Lightning and torch
    r".*is smaller than the logging interval.*",  # training is counted in steps, not epochs
    r".*predict returned None.*",  # predictions are written to disk as they are made
    r".*module\(s\) in eval mode at the start of training.*",  # frozen encoders are in eval mode on purpose
    r".*FSDP2-wrapped module .* returned a view tensor.*",  # no network here changes the output of a block in place
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's start-up messages, and warnings that do not apply to `fit`.

    Also the traceback of a thread that keeps its exception for the main thread, as TensorBoard's writer does.
    """
    log = logging.getLogger("lightning.pytorch")
    level, hook = log.level, threading.excepthook

    def shown(error: threading.ExceptHookArgs) -> None:
        if getattr(error.thread, "exception", None) is not error.exc_value:
            hook(error)

    log.setLevel(logging.WARNING)
    threading.excepthook = shown
    try:
        with warnings.catch_warnings():
            for message in IRRELEVANT_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        log.setLevel(level)
        threading.excepthook = hook
