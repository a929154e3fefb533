"""Formatting of numbers for readers. A missing value is shown as a dash."""

from collections.abc import Iterable
from typing import Any

__all__ = ["count", "decimals", "duration", "join", "number", "plain", "signed", "size", "step"]

DASH = "–"


def decimals(values: Iterable[float | None]) -> int:
    """Return the number of decimals to show for all values of one metric."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return next((digits for bound, digits in ((1000, 0), (10, 1), (1, 2), (0.001, 3)) if largest >= bound), 5)


def number(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals and a typographic minus sign."""
    return DASH if value is None else _unsigned_zero(f"{value:.{digits}f}").replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals and an explicit sign; what rounds to zero has none."""
    return DASH if value is None else _unsigned_zero(f"{value:+.{digits}f}").replace("-", "−")


def duration(seconds: float | None) -> str:
    """Format seconds as ``42.0 s``, ``5 min 03 s`` or ``2 h 07 min``."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def step(seconds: float | None) -> str:
    """Format the seconds of one step, to the millisecond."""
    return DASH if seconds is None else f"{seconds:.3f} s"


def size(bytes: float | None) -> str:
    """Format bytes as ``920 MB`` or ``1.4 GB`` (powers of ten)."""
    if bytes is None:
        return DASH
    return f"{bytes / 1e9:.1f} GB" if bytes >= 1e9 else f"{bytes / 1e6:.0f} MB"


def count(value: float | None) -> str:
    """Format a count as ``800``, ``12.3 k``, ``0.77 M`` or, for operations, ``5.31 T``."""
    if value is None:
        return DASH
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G")):
        if value >= size:
            return f"{value / size:.2f} {letter}"
    if value >= 100_000:
        return f"{value / 1e6:.2f} M"
    return f"{value / 1e3:.1f} k" if value >= 10_000 else f"{value:.0f}"


def plain(value: Any) -> str:
    """Format a config value in YAML notation."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def join(words: list[str]) -> str:
    """Join words as ``a``, ``a and b`` or ``a, b, and c``."""
    if len(words) <= 2:
        return " and ".join(words)
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def _unsigned_zero(number: str) -> str:
    return number if number.strip("+-0.") else number.lstrip("+-")
