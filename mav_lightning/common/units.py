"""Quantities as people read them: three significant digits and a prefix that fits. JSON files keep plain numbers.

A missing value is shown as a dash.
"""

import math
import re

from mav_lightning.common.errors import UserError

__all__ = ["DASH", "count", "duration", "memory", "operations", "parse_memory"]

DASH = "–"
_SI = ("", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def operations(value: float | None) -> str:
    """Format floating-point operations: ``49.2 MFLOP``, ``13.4 TFLOP``."""
    return DASH if value is None else _scaled(value, 1000, _SI, "FLOP")


def memory(value: float | None) -> str:
    """Format bytes: ``8.48 MiB``, ``14.1 GiB``."""
    return DASH if value is None else _scaled(value, 1024, _BINARY, "B")


def parse_memory(text: str, argument: str) -> int:
    """Return the bytes that a text such as ``8 GiB``, ``1.5GB`` or ``512 MiB`` names.

    Args:
        text: Number and unit: B, kB, MB, GB, TB (powers of 1000), or KiB, MiB, GiB, TiB (powers of 1024).
        argument: Name of the argument that holds the text, for the message.

    Raises:
        UserError: If the text names no number of bytes above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b", text.strip(), re.ASCII | re.IGNORECASE)
    size = 0
    if found and (found[2] or not found[3]):
        size = int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " "))
    if size < 1:
        raise UserError(f"must be a number of bytes with a unit, for example `8 GiB`, got {text!r}.", argument=argument)
    return size


def count(value: float | None) -> str:
    """Format a number of things: ``3,300``, ``12.3 k``, ``944 M``."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value < 9999.5 else _scaled(value, 1000, _SI, "")


def duration(seconds: float | None) -> str:
    """Format a duration: ``338 ms``, ``42.0 s``, ``5 min 03 s``, ``2 h 07 min``."""
    if seconds is None:
        return DASH
    if seconds < 0.9995:
        return f"{_three_digits(1000 * seconds)} ms" if seconds else "0 s"
    if seconds < 59.95:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _scaled(value: float, base: int, prefixes: tuple[str, ...], unit: str) -> str:
    power = 0
    while power < len(prefixes) - 1 and round(value / base**power) >= base:
        power += 1
    shown = f"{value:.0f}" if power == 0 else _three_digits(value / base**power)
    return f"{shown} {prefixes[power]}{unit}".rstrip()


def _three_digits(value: float) -> str:
    """Return a number with three significant digits, or whole from 1000 on."""
    rounded = float(f"{value:.3g}") if value < 1000 else value
    exponent = math.floor(math.log10(rounded)) if rounded else 0
    return f"{rounded:.{max(2 - exponent, 0)}f}"
