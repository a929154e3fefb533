"""Formatting of results for readers. A missing value is shown as a dash."""

from collections.abc import Iterable
from typing import Any

from mav_lightning.common.units import DASH

__all__ = ["decimals", "join", "number", "plain", "signed"]


def decimals(values: Iterable[float | None]) -> int:
    """Return the number of decimals to show for all values of one metric."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return next((digits for bound, digits in ((1000, 0), (10, 1), (1, 2), (0.001, 3)) if largest >= bound), 5)


def number(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals and a typographic minus sign; None as a dash."""
    return DASH if value is None else _unsigned_zero(f"{value:.{digits}f}").replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals and an explicit sign; what rounds to zero has none."""
    return DASH if value is None else _unsigned_zero(f"{value:+.{digits}f}").replace("-", "−")


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
