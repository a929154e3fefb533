"""Errors of the machine are tried again, then stop the run; they are never bad data."""

import errno
from collections.abc import Iterator

import pytest

from mav_lightning.common import retries
from mav_lightning.common.retries import MachineError, attempts, with_retries


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


FLEETING = [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT,
            errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EINTR, errno.EBUSY]  # fmt: skip


@pytest.mark.parametrize("code", FLEETING)
def test_what_may_pass_is_tried_again_after_growing_pauses(code: int, slept: list[float]) -> None:
    left = [code] * 5

    def action() -> str:
        if left:
            raise OSError(left.pop(), "reason")
        return "read"

    assert with_retries(action, "0.tar") == "read"
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("code", FLEETING)
def test_what_does_not_pass_stops_with_its_place(code: int) -> None:
    def action() -> None:
        raise OSError(code, "reason")

    with pytest.raises(
        MachineError, match=r"0\.tar: cannot be read after 6 attempts \(reason\)\. Samples are not skipped"
    ):
        with_retries(action, "0.tar")


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP])
def test_what_lasts_stops_at_once(code: int, slept: list[float]) -> None:
    def action() -> None:
        raise OSError(code, "reason")

    with pytest.raises(MachineError, match=r"0\.tar: cannot be read \(reason\)"):
        with_retries(action, "0.tar")
    assert slept == []


def test_memory_that_is_used_up_is_no_traceback() -> None:
    def action() -> None:
        raise MemoryError

    with pytest.raises(MachineError, match="out of memory; use fewer workers or a smaller cache_mb"):
        with_retries(action, "0.tar")


def test_other_errors_pass_unchanged() -> None:
    def action() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        with_retries(action, "0.tar")


def test_an_attempt_may_yield_on_the_way(slept: list[float]) -> None:
    def items() -> Iterator[int]:
        tries = 0
        for attempt in attempts("0.tar"):
            with attempt:
                tries += 1
                yield tries
                if tries < 3:
                    raise OSError(errno.EIO, "reason")

    assert list(items()) == [1, 2, 3]
    assert slept == [0.5, 1.0]


def test_the_pauses_are_short_enough_to_wait_for() -> None:
    assert sum(retries.WAITS) < 30
