"""Plain values of a YAML file → a frozen dataclass, with messages that name the field."""

from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["build"]

T = TypeVar("T")


def build(path: Path, where: str, kind: type[T], values: Any) -> T:
    """Makes a dataclass of plain values.

    Whole numbers must be positive, but for ``seed``. Known hints are bool, int, float, str, ``Literal``, tuples of
    numbers, and any of these or None.

    Args:
        path: Of the file, for messages.
        where: Prefix of the fields in messages, such as ``real.``; empty for the file itself.
        kind: The dataclass.
        values: Field → value.

    Raises:
        UserError: Unknown, missing or unusable fields.
    """
    if not isinstance(values, dict):
        raise UserError(f"{path}: `{where.rstrip('.') or 'the file'}` must map names to values; got {values!r}.")
    wanted = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]  # a dataclass
    for key in values:
        if key not in wanted:
            raise UserError(f"{path}: unknown field `{where}{key}`{did_you_mean(str(key), wanted)}.")
    needed = [name for name, field in wanted.items() if field.default is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise UserError(f"{path}: no `{where}{missing[0]}`; needed are {', '.join(needed)}.")
    hints = get_type_hints(kind)
    return kind(**{name: _fitted(path, f"{where}{name}", value, hints[name]) for name, value in values.items()})


def _fitted(path: Path, name: str, value: Any, hint: Any) -> Any:
    wanted = _misfit(value, hint, name)
    if wanted:
        raise UserError(f"{path}: `{name}` must be {wanted}; got {value!r}.")
    return tuple(float(number) for number in value) if isinstance(value, list) else value


def _misfit(value: Any, hint: Any, name: str) -> str:
    """What the value should have been; empty where it fits."""
    if get_origin(hint) is UnionType:
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return "" if value is None else f"{told} or null" if (told := _misfit(value, kinds[0], name)) else ""
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        right = isinstance(value, list) and bool(value) and all(_number(item) and item > 0 for item in value)
        return "" if right else "a list of positive numbers, e.g. [4, 8, 16]"
    if hint is int and name.endswith("seed"):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if hint is int:
        right = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return "" if right else "a positive whole number"
    if hint is float:
        return "" if _number(value) and value > 0 else "a positive number"
    return "" if isinstance(value, hint) else {str: "words", bool: "true or false"}[hint]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
