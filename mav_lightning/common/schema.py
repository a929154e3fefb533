"""Annotated types for values that have a range; `check` and its siblings validate them."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

__all__ = ["Fraction", "NonNegativeFloat", "NonNegativeInt", "PositiveFloat", "PositiveInt", "Seed"]

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
