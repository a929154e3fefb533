"""Shards in stores that fsspec opens: their errors are tried again, or one message."""

import sys
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from streamed import ALL, samples

from datamodules.remote import StreamLimits
from mav_lightning.common import retries
from mav_lightning.common.errors import UserError


class Bucket(MemoryFileSystem):
    """A store in memory, opened through fsspec like any other; its first readings may fail."""

    protocol = "s3"
    failures: list[Exception] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("s3://").lstrip("/")

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if Bucket.failures:
            raise Bucket.failures.pop(0)
        return super()._open(path, *args, **kwargs)


@pytest.fixture
def bucket(shard: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    fsspec.register_implementation("s3", Bucket, clobber=True)
    Bucket(skip_instance_cache=True).pipe("/b/0.tar", shard)
    yield "s3://b/0.tar"
    Bucket.failures = []
    Bucket.store.clear()
    sys.modules["fsspec.registry"]._registry.pop("s3")  # type: ignore[attr-defined]


def test_stores_are_read_through_fsspec(bucket: str) -> None:
    found, bad = samples(bucket, limits=StreamLimits(), batches=3)

    assert set(found) == ALL and not bad


class Throttled(Exception):
    """An error of some package, no `OSError`."""


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), TimeoutError(), Throttled("slow down"), ValueError("?")]
)
def test_errors_of_stores_are_tried_again(bucket: str, error: Exception) -> None:
    Bucket.failures = [error, error]
    assert set(samples(bucket, limits=StreamLimits(), batches=3)[0]) == ALL

    Bucket.failures = [error] * 3
    with pytest.raises(UserError, match=r"s3://b/0\.tar: cannot be read after 3 attempts"):
        samples(bucket, limits=StreamLimits())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("b/0.tar"), r"s3://b/0\.tar: cannot be opened .*check the address and your credentials"),
        (PermissionError("denied"), r"s3://b/0\.tar: cannot be opened \(denied\)"),
        (ImportError("no s3fs"), r"s3://b/0\.tar: needs the package s3fs; run `pip install s3fs`"),
    ],
)
def test_what_another_attempt_cannot_cure_is_one_message(bucket: str, error: Exception, message: str) -> None:
    Bucket.failures = [error]

    with pytest.raises(UserError, match=message):
        samples(bucket, limits=StreamLimits())
