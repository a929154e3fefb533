"""Quantities for people: three digits and a prefix that fits."""

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.units import count, duration, memory, operations, parse_memory


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (49_200_000, "49.2 MFLOP"),
        (975_600_000, "976 MFLOP"),
        (999_600_000, "1.00 GFLOP"),
        (13.4e12, "13.4 TFLOP"),
        (5e21, "5000 EFLOP"),
    ],
)
def test_operations(value: float | None, shown: str) -> None:
    assert operations(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (1020 * 2**20, "1020 MiB"),
        (14.1 * 2**30, "14.1 GiB"),
    ],
)
def test_memory(value: float | None, shown: str) -> None:
    assert memory(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (800, "800"), (3300, "3,300"), (9999.6, "10.0 k"), (663_000, "663 k"), (944e6, "944 M")],
)
def test_counts(value: float | None, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.0004, "0.400 ms"),
        (0.338, "338 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (42.04, "42.0 s"),
        (59.96, "1 min 00 s"),
        (303, "5 min 03 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512 B", 512),
        ("8GiB", 8 * 2**30),
        (" 8 gib ", 8 * 2**30),
        ("1.5 GB", 1_500_000_000),
        ("64 kB", 64_000),
        ("14.1 MiB", int(14.1 * 2**20)),
        ("1 TiB", 2**40),
    ],
)
def test_memory_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_memory(text, "memory") == size


@pytest.mark.parametrize("text", ["8", "GiB", "", "-1 GiB", "8 iB", "8 G", "nan GiB", "0 GiB", "8 GiB 2", "\u0668 GiB"])
def test_what_is_no_amount_of_memory_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match=r"must be a number of bytes with a unit, for example `8 GiB`, got '"):
        parse_memory(text, "memory")
