"""Checks of arguments that come from Python: the same values are accepted as on the command line."""

from typing import Any

import torch

from mav_lightning.common.errors import UserError
from mav_lightning.common.hints import Misfit
from mav_lightning.common.schema import check

__all__ = ["check_argument", "check_device"]


def check_argument(name: str, value: Any, hint: Any) -> None:
    """Check an argument against a type hint.

    Args:
        name: Name of the argument.
        value: Value received.
        hint: Type hint, as `mav_lightning.common.schema.check` takes it.

    Raises:
        UserError: If the value does not fit.
    """
    try:
        check(value, hint, name)
    except Misfit as error:
        where = "" if error.path == name else f"{error.path.removeprefix(f'{name}.')}: "
        message = f"{where}must be {error.expected}, got {error.value!r}."
        raise UserError(message, argument=name, suggestion=error.suggestion) from error


def check_device(device: str | torch.device) -> torch.device:
    """Return the device.

    Raises:
        UserError: If PyTorch knows no such device.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"PyTorch knows no device {device!r} ({reason}); give `cpu` or `cuda`.", argument="device"
        ) from error
