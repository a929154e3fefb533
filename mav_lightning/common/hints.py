"""Type hints read as a schema: does a plain value fit, and what was expected if not?"""

import collections.abc
import inspect
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError, nearest

__all__ = ["Misfit", "WrongClass", "describe", "fit"]

_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
# Words that people write for YAML's constants.
_WORDS = {
    **dict.fromkeys(("none", "null", "~", "nil"), "null"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
}
_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    None: "null",
    types.NoneType: "null",
    Path: "a path",
    Any: "anything",
}
_BOUNDS = {Gt: ("gt", "above"), Ge: ("ge", "≥"), Lt: ("lt", "below"), Le: ("le", "≤")}
Node = Callable[[Any, Any, str], Any] | None
Build = Callable[..., Any]


class Misfit(UserError):
    """A value that does not fit its type hint.

    Args:
        path: Dotted path of the value.
        expected: Description of valid values that continues the sentence "must be …".
        value: The value received.
        suggestion: The nearest value that fits. None if none is near.
    """

    def __init__(self, path: str, expected: str, value: Any, suggestion: str | None = None) -> None:
        self.path, self.expected, self.value = path, expected, value
        super().__init__(f"{path}: must be {expected}, got {_shown(value)}.", suggestion=suggestion)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields when the error crosses a process boundary."""
        return Misfit, (self.path, self.expected, self.value, self.suggestion)

    def with_default(self, default: Any) -> "Misfit":
        """Return the error with the argument's default as the suggestion, if there is no nearer one."""
        if self.suggestion is None and isinstance(default, bool | int | float | str):
            self.suggestion = str(default).lower() if isinstance(default, bool) else str(default)
        return self


class WrongClass(UserError):
    """A node that names a class other than the one needed; another member of a union may still accept it."""


def fit(value: Any, hint: Any, path: str, node: Node, build: Build) -> Any:
    """Return `value` as the type that `hint` declares.

    Args:
        value: Plain data.
        hint: Type hint.
        path: Dotted path of the value.
        node: Called as ``node(value, hint, path)`` where the hint is a class that plain data cannot be. None rejects
            such values.
        build: Builds a dataclass, ``build(kind, values, path, node)``.

    Raises:
        Misfit: If the value does not fit.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        return _fit_annotated(value, hint, path, node, build)
    if origin in (Union, types.UnionType):
        return _fit_union(value, get_args(hint), path, node, build)
    if isinstance(hint, TypeVar):
        members = hint.__constraints__ or (hint.__bound__ or Any,)
        return _fit_union(value, members, path, node, build)
    if origin in _LISTS or _is(hint, *_LISTS):
        return _fit_list(value, hint, path, node, build)
    if origin in _MAPPINGS or _is(hint, *_MAPPINGS):
        return _fit_mapping(value, hint, path, node, build)
    if origin is Literal or _is(hint, bool, int, float, str, None, types.NoneType, Path):
        return _fit_scalar(value, hint, path)
    if _is(hint, Any, object, inspect.Parameter.empty):
        return _finite(value, path, node)
    if is_dataclass(hint) and isinstance(value, Mapping) and not _is_node(value):
        return build(hint, value, path, node)
    if node is None:
        raise Misfit(path, f"a {getattr(hint, '__name__', hint)}, which cannot be written as plain data", value)
    return node(value, hint, path)


def describe(hint: Any) -> str:
    """Return what a hint expects, as it continues "must be …"."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = " and ".join(text for text in map(_bound, args[1:]) if text)
        return f"{describe(args[0])} {bounds}".strip()
    if origin in (Union, types.UnionType):
        return _any_of(args)
    if origin is Literal:
        return f"one of {', '.join(f'`{_yaml(one)}`' for one in args)}"
    if origin in _LISTS or _is(hint, *_LISTS):
        items = [one for one in args if one is not Ellipsis]
        if origin is tuple and Ellipsis not in args and items:
            return f"a list of {counted(len(items), 'item')}, {', '.join(map(describe, items))}"
        return f"a list, each item {describe(items[0])}" if items else "a list"
    if origin in _MAPPINGS or _is(hint, *_MAPPINGS):
        return "a mapping of names to values"
    if _is(hint, *_PLAIN):
        return _PLAIN[hint]
    if hint is collections.abc.Callable or origin is collections.abc.Callable:
        return "a node with `_target_`, and `_partial_: true` where arguments are left open"
    return f"a node with `_target_` that builds a {getattr(origin or hint, '__name__', hint)}"


def _fit_annotated(value: Any, hint: Any, path: str, node: Node, build: Build) -> Any:
    try:
        found = fit(value, get_args(hint)[0], path, node, build)
    except Misfit as misfit:
        if misfit.path != path:
            raise
        raise Misfit(path, describe(hint), value, misfit.suggestion) from None  # with the range
    return _in_range(found, hint, path)


def _fit_scalar(value: Any, hint: Any, path: str) -> Any:
    if get_origin(hint) is Literal:
        right = any(value == one and type(value) is type(one) for one in get_args(hint))
    elif hint is float:
        right = isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    elif hint is Path:
        right = isinstance(value, str | Path) and "\0" not in str(value) and str(value) != ""
    elif hint in (None, types.NoneType):
        right = value is None
    else:
        right = type(value) is hint
    if not right:
        raise Misfit(path, describe(hint), value, _closest(value, (hint,)))
    return Path(value) if hint is Path else value


def _fit_union(value: Any, members: tuple[Any, ...], path: str, node: Node, build: Build) -> Any:
    inside: UserError | None = None
    wrong_class: UserError | None = None
    for member in members:
        try:
            return fit(value, member, path, node, build)
        except Misfit as misfit:
            if misfit.path != path:
                inside = inside or misfit
        except WrongClass as error:
            wrong_class = error
        except UserError as error:
            inside = inside or error
    raise inside or wrong_class or Misfit(path, _any_of(members), value, _closest(value, members))


def _fit_list(value: Any, hint: Any, path: str, node: Node, build: Build) -> Any:
    if not isinstance(value, list | tuple):
        raise Misfit(path, describe(hint), value)
    args = get_args(hint)
    is_tuple = get_origin(hint) is tuple or hint is tuple
    if is_tuple and args and Ellipsis not in args:
        if len(value) != len(args):
            raise Misfit(path, describe(hint), value)
        kinds = list(args)
    else:
        kinds = [args[0] if args else Any] * len(value)
    items = [
        fit(item, kind, f"{path}.{i}", node, build) for i, (item, kind) in enumerate(zip(value, kinds, strict=True))
    ]
    return tuple(items) if is_tuple else items


def _fit_mapping(value: Any, hint: Any, path: str, node: Node, build: Build) -> Any:
    if not isinstance(value, Mapping):
        raise Misfit(path, describe(hint), value)
    key_hint, item_hint = get_args(hint) or (Any, Any)
    return {
        fit(key, key_hint, f"{path}.{key}", node, build): fit(item, item_hint, f"{path}.{key}", node, build)
        for key, item in value.items()
    }


def _in_range(value: Any, hint: Any, path: str) -> Any:
    bare, *bounds = get_args(hint)
    if not isinstance(value, int | float):
        return value
    for bound in bounds:
        if type(bound) in _BOUNDS and not _holds(value, bound):
            raise Misfit(path, describe(hint), value, _nearest_inside(bound, bare))
    return value


def _holds(value: float, bound: Any) -> bool:
    limit = getattr(bound, _BOUNDS[type(bound)][0])
    return bool({Gt: value > limit, Ge: value >= limit, Lt: value < limit, Le: value <= limit}[type(bound)])


def _nearest_inside(bound: Any, bare: Any) -> str | None:
    """Return the number at the edge of a range; None for an open edge of real numbers."""
    limit = getattr(bound, _BOUNDS[type(bound)][0])
    if isinstance(bound, Ge | Le):
        return str(limit)
    return str(limit + (1 if isinstance(bound, Gt) else -1)) if bare is int else None


def _bound(bound: Any) -> str:
    if type(bound) not in _BOUNDS:
        return ""
    name, sign = _BOUNDS[type(bound)]
    return f"{sign} {getattr(bound, name)}"


def _any_of(members: tuple[Any, ...]) -> str:
    return " or ".join(dict.fromkeys(map(describe, members)))


def _closest(value: Any, members: tuple[Any, ...]) -> str | None:
    """Return the value nearest to a wrong one, as it is written in YAML."""
    words = [_yaml(one) for member in members if get_origin(member) is Literal for one in get_args(member)]
    words += ["true", "false"] if bool in members else []
    words += ["null"] if types.NoneType in members else []
    text = _yaml(value)
    if (meant := _WORDS.get(text.lower())) in words:
        return meant
    if meant == "null" and bool in members:
        return "false"
    if near := nearest(text, words):
        return near
    for kind in (int, float):
        if isinstance(value, str) and any(get_origin(one) is None and one is kind for one in map(_bare, members)):
            try:
                return repr(kind(value)) if _is_finite(kind(value)) else None
            except (ValueError, OverflowError):
                continue
    return None


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _finite(value: Any, path: str, node: Node) -> Any:
    """Check numbers inside data of any shape; nodes are passed to `node`."""
    if isinstance(value, Mapping):
        if _is_node(value) and node is not None:
            return node(value, Any, path)
        return {key: _finite(item, f"{path}.{key}", node) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item, f"{path}.{i}", node) for i, item in enumerate(value)]
    if isinstance(value, float) and not _is_finite(value):
        raise Misfit(path, "a finite number", value)
    return value


def _is_finite(value: float) -> bool:
    """Return whether a number is finite as a float; whole numbers can be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_node(value: Mapping[str, Any]) -> bool:
    return "_target_" in value or "_network_" in value


def _is(hint: Any, *kinds: Any) -> bool:
    """Return whether a hint is one of some types; hints need not be hashable or comparable."""
    return any(hint is kind for kind in kinds)


def _yaml(value: Any) -> str:
    """Return a scalar as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
