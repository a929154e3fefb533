"""Progress without a terminal: a line now and then, and one at the end."""

from collections.abc import Iterator

import pytest

from mav_lightning.cli import progress
from mav_lightning.cli.progress import tracker


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock: its only item is the time."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    yield now


def test_a_line_tells_rate_and_time_left_every_ten_seconds(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with tracker() as track:
        for _ in track(range(100), 100, "denoising steps"):
            seconds[0] += 0.5
    assert capsys.readouterr().out.splitlines() == [
        "denoising steps 20/100 · 2/s · 0:40 left",
        "denoising steps 40/100 · 2/s · 0:30 left",
        "denoising steps 60/100 · 2/s · 0:20 left",
        "denoising steps 80/100 · 2/s · 0:10 left",
        "denoising steps 100/100 · 2/s",
    ]


def test_short_and_empty_work_is_one_line(seconds: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with tracker() as track:
        assert list(track(["a", "b"], 2, "clips")) == ["a", "b"]
        assert list(track([], 0, "clips")) == []
    assert capsys.readouterr().out == "clips 2/2\nclips 0/0\n"
