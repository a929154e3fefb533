"""Conditions on the metadata of samples, such as ``pwatermark <= 0.5``: a small, closed language.

A condition compares fields with numbers, texts and each other (``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``,
``not in``), asks whether a field ``is missing`` or ``is not missing``, and joins comparisons by ``and``, ``or``,
``not`` and parentheses. A field is a name, with dots for nested ones, or ``json["any name"]``. Nothing else is
accepted, and nothing is executed: Python's parser gives the tree, whose nodes are checked against a closed list and
interpreted here.

A text that is a number, such as ``"0.5"``, is compared with numbers as one. A comparison with a field that a sample
lacks, or that has another type than its counterpart, is neither true nor false, as in SQL; a sample is kept only if the
whole condition is true.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["LACK", "Lacking", "Where", "field_names"]

_LONGEST, _DEEPEST = 10_000, 50  # characters and levels; more could exhaust the stack
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_WRITE = {"=": "==", "&": "and", "|": "or", "!": "not"}  # symbol of other languages → ours
_MISSING = "missing"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
LACK, _OTHER = "lack `{}`", "hold another type in `{}`"
_TRUTHS = {"true": True, "false": False}
_LANGUAGE = (
    'a condition has comparisons such as `width >= 256`, `label in ("a", "b")` and `caption is missing`, joined by '
    "`and`, `or`, `not` and parentheses"
)

Lacking = dict[str, str]  # field → what is wrong with it in a sample, for messages


@dataclass(frozen=True)
class Where:
    """A condition on the metadata of a sample.

    Attributes:
        text: The condition.

    Raises:
        UserError: The condition cannot be read; the message has the position.

    Example:
        >>> Where("pwatermark <= 0.5 and not (width < 64)").holds({"pwatermark": 0.1, "width": 512}, {})
        True
    """

    text: str

    def __post_init__(self) -> None:
        """Read the condition."""
        _check_truth(self._tree, self.text)

    def holds(self, facts: Mapping[str, Any], lacking: Lacking) -> bool | None:
        """Return whether the condition is true for a sample; None if it is undecided because fields are missing.

        Args:
            facts: Metadata of the sample, as JSON gives it; null and NaN count as missing.
            lacking: Each field that is missing or has another type is added here, with what is wrong.
        """
        return _Sample(facts, lacking).truth(self._tree)

    @cached_property
    def fields(self) -> dict[str, int]:
        """Fields that the condition compares, not only tests with ``is missing`` → their first position, from 1."""
        asked = {
            id(node.left)
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot)
        }
        inner = {id(node.value) for node in ast.walk(self._tree) if isinstance(node, ast.Attribute | ast.Subscript)}
        found: dict[str, int] = {}
        for node in ast.walk(self._tree):
            if (name := _field(node)) and id(node) not in asked | inner and name not in _TRUTHS and name != _MISSING:
                found.setdefault(name, _position(node, self.text))
        return found

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.text) > _LONGEST:
            raise UserError(f"has {len(self.text)} characters, more than {_LONGEST}; shorten it.", argument="where")
        try:
            return ast.parse(_line(self.text), mode="eval").body
        except SyntaxError as error:
            offset = max(error.offset or 1, 1)
            word = _WRITE.get(_line(self.text)[offset - 1 : offset])
            remedy = f"write `{word}`" if word else _LANGUAGE
            raise _refusal(offset + _indent(self.text), f"cannot be read: {remedy}") from None
        except (ValueError, RecursionError, MemoryError):
            problem = "cannot be read (it holds null characters or is nested too deeply)"
            raise UserError(f"{problem}.", argument="where") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process read the text again."""
        return Where, (self.text,)


def field_names(facts: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of all fields of a sample's metadata, with dots for nested ones."""
    names = []
    for name, value in facts.items():
        names += field_names(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return names


@dataclass(frozen=True)
class _Sample:
    """Metadata of one sample, and what was found to be wrong with it."""

    facts: Mapping[str, Any]
    lacking: Lacking

    def truth(self, node: ast.AST) -> bool | None:
        match node:
            case ast.BoolOp(op=op, values=values):
                return _joined([self.truth(value) for value in values], isinstance(op, ast.Or))
            case ast.UnaryOp(operand=operand):
                inner = self.truth(operand)
                return None if inner is None else not inner
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                return _joined([self.compared(*one) for one in zip(sides, ops, others, strict=False)], False)
        value = self.value(node)
        return value if isinstance(value, bool) else self.unfit(value, node)

    def compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool | None:
        if isinstance(op, ast.Is | ast.IsNot):
            return (_found(self.facts, _field(left) or "") is None) == isinstance(op, ast.Is)
        one, other = _alike(self.value(left), self.value(right))
        if one is None or other is None:
            return None
        if isinstance(op, ast.In | ast.NotIn):
            inside = _contains(other, one)
            return self.unfit(one, left, right) if inside is None else inside == isinstance(op, ast.In)
        ordered = _kind(one) == _kind(other) and (
            _kind(one) in ("number", "text") or isinstance(op, ast.Eq | ast.NotEq)
        )
        return _COMPARE[type(op)](one, other) if ordered else self.unfit(one, left, right)

    def value(self, node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(operand=operand):
                return -self.value(operand)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return [self.value(item) for item in items]
        name = _field(node) or ""
        if name in _TRUTHS:
            return _TRUTHS[name]
        value = _found(self.facts, name)
        if value is None:
            self.lacking[name] = LACK
        return value

    def unfit(self, value: Any, *nodes: ast.AST) -> bool | None:
        """Note that fields have another type than what they are compared with, unless one is missing."""
        for name in (_field(node) for node in nodes if value is not None):
            if name is not None:
                self.lacking.setdefault(name, _OTHER)
        return None


def _found(facts: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field; None if it is missing, null or NaN."""
    value: Any = facts
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, float) and math.isnan(value) else value


def _joined(found: list[bool | None], either: bool) -> bool | None:
    """Join truths by ``or`` if `either`, else by ``and``, where None is unknown."""
    if any(one is either for one in found):
        return either
    return None if None in found else not either


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Read a text as a number where it is compared with one: tables and tools write numbers as text."""
    if _kind(one) == "number" and isinstance(other, str) and _NUMBER.fullmatch(other):
        return one, float(other)
    if _kind(other) == "number" and isinstance(one, str) and _NUMBER.fullmatch(one):
        return float(one), other
    return one, other


def _contains(items: Any, value: Any) -> bool | None:
    """Return whether a list or a text contains a value; None if their types do not allow it."""
    if isinstance(items, str):
        return value in items if isinstance(value, str) else None
    if not isinstance(items, list) or items and all(_kind(item) != _kind(value) for item in items):
        return None
    return any(_kind(item) == _kind(value) and item == value for item in items)


def _kind(value: Any) -> str:
    names = {bool: "truth", int: "number", float: "number", str: "text"}
    return names.get(type(value), "something else")


def _field(node: ast.AST) -> str | None:
    """Return the dotted name of a field. None if the node is something else."""
    match node:
        case ast.Subscript(value=ast.Name(id="json"), slice=ast.Constant(value=str(name))):
            return name  # a name that is no identifier, such as `json["motion score"]`
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _field(node.value)):
        return f"{before}.{node.attr}"
    return None


def _check_truth(node: ast.AST, text: str, depth: int = 1) -> None:
    if depth > _DEEPEST:
        raise _foreign(node, text, f"it is nested more than {_DEEPEST} levels deep")
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_truth(value, text, depth + 1)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_truth(operand, text, depth + 1)
        case ast.Compare(left=left, ops=ops, comparators=others):
            for one, op, other in zip([left, *others], ops, others, strict=False):
                _check_comparison(one, op, other, text)
        case ast.Name() | ast.Attribute() | ast.Subscript() if _field(node) and _field(node) != _MISSING:
            pass
        case _:
            raise _foreign(node, text)


def _check_comparison(left: ast.expr, op: ast.cmpop, right: ast.expr, text: str) -> None:
    if isinstance(op, ast.Is | ast.IsNot):
        if not (isinstance(right, ast.Name) and right.id == _MISSING):
            raise _foreign(right, text, "`is` is only for `is missing` and `is not missing`; use `==`")
        if _field(left) is None:
            raise _foreign(left, text, "only a field can be missing")
        return
    _check_value(left, text)
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List):
        for item in right.elts:
            _check_value(item, text)
    else:
        _check_value(right, text)


def _check_value(node: ast.AST, text: str) -> None:
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            pass
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            pass
        case ast.Name() | ast.Attribute() | ast.Subscript() if _field(node) and _field(node) != _MISSING:
            pass
        case _:
            raise _foreign(node, text)


def _foreign(node: ast.AST, text: str, reason: str = "") -> UserError:
    start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
    shown = _line(text).encode()[start:end].decode(errors="ignore")
    shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
    return _refusal(_position(node, text), f"`{shown}` is not accepted: {reason or _LANGUAGE}")


def _refusal(position: int, problem: str) -> UserError:
    return UserError(f"position {position}: {problem}.", argument="where")


def _position(node: ast.AST, text: str) -> int:
    """Return the position of a node in the condition in characters, from 1; Python counts bytes."""
    before = _line(text).encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore")
    return _indent(text) + len(before) + 1


def _line(text: str) -> str:
    """Return a condition as Python reads it: one line without indentation."""
    return " ".join(text.lstrip().splitlines())


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
