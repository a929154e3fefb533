"""Checks of constructor arguments against their type hints, for callers in Python as for configs."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from mav_lightning.common.errors import UserError
from mav_lightning.common.hints import Misfit
from mav_lightning.common.schema import check, parameters

__all__ = ["check_argument", "check_arguments", "check_fields"]


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check the arguments of a call against the function's signature, from inside the function.

    Args:
        function: The function, for example ``ClipData.__init__``.
        values: Argument name → value, for example ``locals()``. Names that are no arguments are ignored.

    Raises:
        UserError: A value does not fit its type hint, for example a negative number for a `PositiveInt`.
    """
    for name, parameter in parameters(function).items():
        if name in values and parameter.annotation is not Any:
            check_argument(name, values[name], parameter.annotation)


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
