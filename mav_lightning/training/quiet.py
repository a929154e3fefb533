"""Lightning's voice turned down to what a person can use."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_lightning"]

MOOT_WARNINGS = (
    r".*treespec, LeafSpec.*",  # a deprecation between Lightning and torch
    r".*is smaller than the logging interval.*",  # epochs mean nothing here: steps count
    r".*predict returned None.*",  # what is drawn or extracted is written at once
    r".*module\(s\) in eval mode at the start of training.*",  # frozen encoders are meant to be
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences Lightning's greetings, and the warnings that the choices made in `fit` leave without a point."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in MOOT_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        log.setLevel(level)
