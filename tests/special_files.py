"""Paths at which there is no regular file: reading them waits, has no end, or finds nothing."""

import os
import socket
from pathlib import Path

SPECIAL = ("a pipe", "a socket", "a device", "a link to itself", "a link to nothing", "nothing")


def make_special(path: Path, kind: str) -> Path:
    """Put one of `SPECIAL` at a path."""
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind != "nothing":
        path.symlink_to({"a device": "/dev/zero", "a link to itself": path, "a link to nothing": "nowhere"}[kind])
    return path


def make_huge(path: Path) -> Path:
    """Write a file of a terabyte that takes no space."""
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path
