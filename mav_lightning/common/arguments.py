"""Checks of constructor arguments against their type hints, for callers in Python as for configs."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar, get_type_hints

from mav_lightning.common.errors import UserError
from mav_lightning.common.hints import Misfit
from mav_lightning.common.schema import check

__all__ = ["check_argument", "check_fields", "checked"]

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a constructor or function so that its arguments are checked against its annotations at every call.

    Objects are accepted as they are; their classes check themselves. Raises `UserError`, like `check_argument`.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        hints = get_type_hints(function, include_extras=True)
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints:
                check_argument(name, value, hints[name])
        return function(*args, **kwargs)

    return call


def check_fields(instance: Any) -> None:
    """Check the fields of a dataclass against their type hints, from its ``__post_init__``.

    Raises:
        UserError: A value does not fit its type hint.
    """
    hints = get_type_hints(type(instance), include_extras=True)
    for field in fields(instance):
        check_argument(field.name, getattr(instance, field.name), hints[field.name])


def check_argument(name: str, value: Any, hint: Any) -> None:
    """Check one argument against a type hint.

    Args:
        name: Name of the argument.
        value: Value received.
        hint: Type hint, as `mav_lightning.common.schema.check` takes it.

    Raises:
        UserError: If the value does not fit.
    """
    try:
        check(value, hint, name, node=_any_object)
    except Misfit as misfit:
        message = str(misfit.message).removeprefix(f"{misfit.path}: ")
        argument = misfit.path
        raise UserError(message, argument=argument, suggestion=misfit.suggestion) from None


def _any_object(value: Any, hint: Any, path: str) -> Any:
    """Accept objects; their classes check themselves."""
    return value
