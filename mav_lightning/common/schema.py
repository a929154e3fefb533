"""One validator for plain data: configs, protocols, studies, recipes and JSON from disk.

A value is checked against the type hint that declares it, strictly: nothing is converted but lists to tuples, text to
paths, and mappings to the dataclasses they describe. Numbers are finite. Every message names the dotted path, what is
expected, the value received and, where there is one, the nearest valid value.

Written by hand since pydantic's strict mode takes no list for a tuple, no mapping for a dataclass and no text for a
path outside JSON, knows no nodes that describe objects, reports one error per member of a union, and needs 0.17 s to
import.
"""

import functools
import inspect
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Le

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.hints import Misfit, fit
from mav_lightning.common.machine_faults import unreadable
from mav_lightning.common.terminal import shorten

__all__ = [
    "Fraction",
    "NoiseSeed",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PositiveFloat",
    "PositiveInt",
    "Seed",
    "build",
    "check",
    "check_call",
    "located",
    "parameters",
    "read_json",
]

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
NoiseSeed = Annotated[int, Ge(0), Le(2**48 - 1)]  # of generated clips

_LARGEST_FILE = 1 << 28  # bytes of JSON
T = TypeVar("T")
Node = Callable[[Any, Any, str], Any]


def check(value: Any, hint: Any, path: str, node: Node | None = None) -> Any:
    """Check a plain value against a type hint and return it as that type.

    Args:
        value: Plain data, as YAML or JSON give it.
        hint: Type hint: scalars, ``Literal``, unions, ``Annotated`` ranges, lists, tuples, mappings, `Path`,
            dataclasses, ``Any``, and with `node` any class or ``Callable``.
        path: Dotted path of the value, for messages.
        node: Called as ``node(value, hint, path)`` for values whose hint is a class that plain data cannot be. None if
            there are no such values.

    Raises:
        UserError: If the value does not fit.
    """
    try:
        return fit(value, hint, path, node, build)
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply.") from error


def build(kind: type[T], values: Any, path: str, node: Node | None = None) -> T:
    """Build a dataclass from a mapping of its fields.

    Args:
        kind: The dataclass.
        values: Field name → plain value.
        path: Dotted path of the mapping, for messages.
        node: See `check`.

    Raises:
        UserError: If a key is unknown or missing, or a value does not fit.
    """
    hints, required = _fields(kind)  # type: ignore[arg-type]  # classes are hashable
    found = _checked(values, hints, required, path, kind.__name__, node, None)
    with located(path):
        return kind(**found)


@contextmanager
def located(path: str) -> Iterator[None]:
    """Put the dotted path of an object before the error that its class raises for a combination of arguments.

    Args:
        path: Dotted path of the object, for example ``task.sampling``.

    Raises:
        UserError: The error with its path: ``task.sampling.skip: …``.
    """
    try:
        yield
    except Misfit as misfit:
        raise Misfit(_join(path, misfit.path), misfit.expected, misfit.value, misfit.suggestion) from misfit
    except UserError as error:
        where = _join(path, error.argument) if error.argument else path
        message = f"{where}: {error.message}" if where else error.message
        raise UserError(message, suggestion=error.suggestion) from error


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class or function that can be given by name, with resolved annotations.

    A parameter that stands for any further keyword (``**kwargs``) is included with its kind.
    """
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # a foreign library that hides names behind TYPE_CHECKING
        hints = {}
    taken = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind in taken
    }


def check_call(
    target: Callable[..., Any], values: Mapping[str, Any], path: str, *, partial: bool, node: Node | None = None
) -> dict[str, Any]:
    """Check the keyword arguments of a call, without calling.

    Args:
        target: Class or function.
        values: Argument name → plain value.
        path: Dotted path of the mapping, for messages.
        partial: Whether required arguments may be missing.
        node: See `check`.

    Returns:
        The arguments as the types that the signature declares.

    Raises:
        UserError: If an argument is unknown, missing, or does not fit.
    """
    known = parameters(target)
    more = [name for name, one in known.items() if one.kind is inspect.Parameter.VAR_KEYWORD]
    named = {name: one for name, one in known.items() if name not in more}
    hints = {name: one.annotation for name, one in named.items()}
    if more:
        hints |= {key: Any for key in values if key not in hints}
    required = set() if partial else {name for name, one in named.items() if one.default is one.empty}
    return _checked(values, hints, required, path, target.__name__, node, named)


def read_json(file: Path, hint: Any, missing: str = "give a file that exists") -> Any:
    """Read a JSON file and check its content against a type hint.

    Args:
        file: The file.
        hint: Type hint of the content; a dataclass is built.
        missing: How to fix a file that is missing, for the message.

    Raises:
        UserError: If the file is missing, is not a regular file, is too large, is not JSON, has a key twice in one
            object, is nested too deeply, or its content does not fit.
    """
    try:
        content = json.loads(_small_file(file), object_pairs_hook=_object)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file; {missing}.") from error
    except OSError as error:
        raise unreadable(file, error) from error
    except RecursionError as error:
        raise UserError(f"{file}: nested too deeply to be one of this project's files.") from error
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON ({error}).") from error
    return check(content, hint, str(file))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of JSON, which Python would build of the last of several values of a key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"`{shorten(name)}` twice in one object")
    return found


def _small_file(file: Path) -> bytes:
    """Return the bytes of a file; opening a pipe would wait for a writer, and a device has no end."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{file}: is not a regular file.")
    if found.st_size > _LARGEST_FILE:
        raise UserError(f"{file}: {found.st_size} bytes, more than the limit of {_LARGEST_FILE}; is it the right file?")
    return file.read_bytes()


@functools.cache
def _fields(kind: type) -> tuple[dict[str, Any], set[str]]:
    """Return the type hints of a dataclass's fields and the names of the required ones."""
    declared = {field.name: field for field in fields(kind) if field.init}
    required = {
        name for name, field in declared.items() if field.default is MISSING and field.default_factory is MISSING
    }
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in declared}, required


def _checked(
    values: Any,
    hints: Mapping[str, Any],
    required: set[str],
    path: str,
    name: str,
    node: Node | None,
    defaults: Mapping[str, inspect.Parameter] | None,
) -> dict[str, Any]:
    """Check the keys and the values of a mapping."""
    if not isinstance(values, Mapping):
        raise Misfit(path, "a mapping of names to values", values)
    for key in values:
        if key not in hints:
            known = ", ".join(hints) or "none"
            raise UserError(
                f"{_join(path, key)}: `{name}` has no argument `{key}`; it takes {known}.",
                suggestion=nearest(str(key), hints),
            )
    for key in (key for key in hints if key in required and key not in values):
        raise UserError(
            f"{_join(path, key)}: is missing; `{name}` needs it.", suggestion=nearest(key, map(str, values))
        )
    found = {}
    for key, value in values.items():
        try:
            found[key] = check(value, hints[key], _join(path, key), node)
        except Misfit as misfit:
            raise misfit.with_default(defaults[key].default if defaults and key in defaults else None) from None
    return found


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
