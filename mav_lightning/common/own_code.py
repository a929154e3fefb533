"""Hashes of the user's own code: what functions and classes compute, in scripts and notebooks as in packages."""

import functools
import hashlib
import sys
import sysconfig
import traceback
from argparse import Namespace
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

__all__ = ["base_names", "code_sha256", "is_own", "is_own_file", "raised_at"]

_OURS = ("mav_lightning", "datamodules", "evaluation")
_ROOT = Path(__file__).resolve().parents[2]
_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_INSTALLED = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_base_names: dict[type, set[str]] = {}
_NO_CODE = compile("", "", "exec")
_FUNCTIONS = (FunctionType, functools._lru_cache_wrapper)


def is_own(value: Any) -> bool:
    """Return whether a class, function or module is the user's own: neither this project's nor installed.

    A package that is installed in editable mode is the user's own.
    """
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    if not isinstance(name, str) or name.partition(".")[0] in _OURS:
        return False
    if name == "__main__":
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and is_own_file(Path(file))


def is_own_file(file: Path) -> bool:
    """Return whether a source file is neither this project's, nor Python's, nor installed."""
    path = file.resolve()
    ours = any(path.is_relative_to(_ROOT / name) for name in _OURS)
    return not (ours or path.is_relative_to(_LIBRARY) or _INSTALLED & set(path.parts))


def raised_at(error: BaseException) -> str:
    """Return what an error is, and the last line of the user's own code that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own_file(Path(frame.filename))] or frames
    where = "" if isinstance(error, SyntaxError) else f" ({own[-1].filename}, line {own[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"


def code_sha256(value: Any) -> str | None:
    """Hash what a class or function of the user's own computes, and all of her own that it refers to.

    The compiled code counts, so that comments and layout do not, and code typed into a notebook does. Names of its
    module count by what they stand for: functions, classes, plain values, and attributes that it names of parsed
    arguments and other settings; lists do not, as they mostly record something.

    Returns:
        The sha256, as 64 hexadecimal digits; it holds for one minor version of Python. None for anybody else's code.
    """
    if not is_own(_unwrapped(value)):
        return None
    digest = hashlib.sha256()
    for part in _parts(value, set()):
        digest.update(part.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def base_names(kind: type) -> set[str]:
    """Return the names that the code of a class's bases uses, as far as the bases are not the user's own."""
    if kind not in _base_names:
        members = (member for base in kind.__mro__ if not is_own(base) for member in vars(base).values())
        codes = [getattr(_unwrapped(member), "__code__", _NO_CODE) for member in members]
        _base_names[kind] = {name for code in codes for name in code.co_names}
    return _base_names[kind]


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield text that differs where what a value computes does."""
    value = _unwrapped(value)
    if (plain := _plain(value)) is not None:
        yield plain
    elif isinstance(value, functools.partial | functools.partialmethod):
        yield from _each([value.func, *value.args, *value.keywords.items()], seen)
    elif isinstance(value, tuple | list):
        yield from _each(value, seen)
    elif isinstance(value, property):
        yield from _each([value.fget, value.fset], seen)
    elif isinstance(value, type | FunctionType) and not is_own(value):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, type | FunctionType) and id(value) not in seen:
        seen.add(id(value))
        yield from _class(value, seen) if isinstance(value, type) else _function(value, seen)
    elif is_own(type(value)):
        yield from _parts(type(value), seen)


def _each(values: Iterable[Any], seen: set[int]) -> Iterator[str]:
    for value in values:
        yield from _parts(value, seen)


def _class(kind: type, seen: set[int]) -> Iterator[str]:
    yield kind.__qualname__
    yield from _each(kind.__bases__, seen)
    for name, member in sorted(vars(kind).items()):
        if not (name.startswith("__") and _plain(member) is not None):  # its docstring, module and line
            yield name
            yield from _parts(member, seen)


def _function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    yield function.__qualname__
    codes = list(_nested(function.__code__))
    for code in codes:
        yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}"
        constants = [one for one in code.co_consts if not isinstance(one, CodeType) and one != function.__doc__]
        yield from (_plain(one) or repr(one) for one in constants)
    yield from _each([function.__defaults__ or (), *(function.__kwdefaults__ or {}).items()], seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # not assigned yet
            continue
    names = {name for code in codes for name in code.co_names}
    held = [vars(one) for one in map(function.__globals__.get, sorted(names)) if _holds_names(one)]
    for name in sorted(names):
        for space in (function.__globals__, *held):
            if not isinstance(space.get(name), list):  # mostly a record of something, which grows
                yield from _parts(space.get(name), seen)


def _holds_names(value: Any) -> bool:
    """Return whether code refers to attributes of a value by name: a module or settings, such as parsed arguments."""
    if isinstance(value, ModuleType):
        return is_own(value)
    return isinstance(value, Namespace | SimpleNamespace) or (is_own(type(value)) and hasattr(value, "__dict__"))


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _plain(value: Any) -> str | None:
    """Return plain data as text, the same in every process; None for anything else."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Enum):
        return f"{value.name} {_plain(value.value)}"
    if isinstance(value, frozenset | set | tuple | list):
        items = [_plain(item) for item in value]
        return None if None in items else str(sorted(items, key=str) if isinstance(value, frozenset | set) else items)
    if isinstance(value, dict):
        pairs = [(_plain(key), _plain(item)) for key, item in value.items()]
        return None if any(None in pair for pair in pairs) else str(pairs)
    return None


def _unwrapped(value: Any) -> Any:
    """Return the function inside a method, a cached property or a decorator that keeps it."""
    while (inner := _inner(value)) is not None:
        value = inner
    return value


def _inner(value: Any) -> Any:
    if isinstance(value, functools.cached_property):
        return value.func
    if isinstance(value, classmethod | staticmethod | MethodType):
        return value.__func__
    return getattr(value, "__wrapped__", None) if isinstance(value, _FUNCTIONS) else None
