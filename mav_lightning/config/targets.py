"""The classes that a user's own configs may name.

Public classes of this project's packages (those in ``__all__`` of their module), the optimizers and schedulers of
``torch.optim``, the callbacks and loggers of Lightning, and the classes of packages that the user has allowed.
Functions cannot be named: a config describes objects, and building them only checks and stores arguments. A folder
that somebody shared never comes here; see `mav_lightning.networks.catalogue`.
"""

import importlib
from types import ModuleType
from typing import TypeGuard

from mav_lightning.common.allowed import import_class, is_allowed
from mav_lightning.common.errors import UserError, nearest

__all__ = ["locate"]

_OWN = (
    "mav_lightning.nn",
    "mav_lightning.diffusion",
    "mav_lightning.modules",
    "mav_lightning.training",
    "mav_lightning.cascade",
    "mav_lightning.baselines",
    "mav_lightning.pretrained",
    "mav_lightning.adopt",
    "mav_lightning.knockout",
    "datamodules",
    "evaluation",
)
# Package of others → the classes that may be named there.
_FOREIGN = {
    "torch.optim.lr_scheduler": ("torch.optim.lr_scheduler.LRScheduler",),
    "torch.optim": ("torch.optim.Optimizer",),
    "lightning.pytorch.callbacks": ("lightning.pytorch.callbacks.Callback",),
    "lightning.pytorch.loggers": ("lightning.pytorch.loggers.Logger",),
}


def locate(name: object, path: str) -> type:
    """Import the class that a node names.

    Args:
        name: Value of ``_target_``.
        path: Dotted path of the node, for messages.

    Raises:
        UserError: If the name is not that of a class that configs may name.
    """
    where = f"{path}._target_" if path else "_target_"
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{where}: must be the dotted name of a class, got {name!r}.")
    from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

    ensure_torchvision_imports()
    module_name, _, attribute = name.rpartition(".")
    try:
        if any(_inside(module_name, package) for package in _OWN):
            return _own(module_name, attribute)
        for package, bases in _FOREIGN.items():
            if _inside(module_name, package):
                return _foreign(module_name, attribute, bases)
        if is_allowed(module_name):
            return import_class(name)
    except UserError as error:
        raise UserError(f"{where}: {error.message}", suggestion=error.suggestion) from error
    known = ", ".join([*_OWN, *_FOREIGN])
    package = name.partition(".")[0]
    raise UserError(
        f"{where}: `{name}` is not allowed; a config may name classes of {known}. If `{package}` is a package of your "
        f"own, add --allow {package} to the command, or `allow: [{package}]` to the study."
    )


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _own(module_name: str, attribute: str) -> type:
    module = _imported(module_name, attribute)
    public = getattr(module, "__all__", [])
    found = getattr(module, attribute, None)
    if attribute not in public or not _can_be_built(found):
        classes = [one for one in public if _can_be_built(getattr(module, one, None))]
        raise UserError(
            f"`{module_name}` has no public class `{attribute}`; it has {', '.join(classes) or 'none'}.",
            suggestion=_full(module_name, nearest(attribute, classes)),
        )
    return found


def _can_be_built(found: object) -> TypeGuard[type]:
    """Return whether a config may describe it: a class, but no exception or warning."""
    return isinstance(found, type) and not issubclass(found, BaseException)


def _foreign(module_name: str, attribute: str, bases: tuple[str, ...]) -> type:
    module = _imported(module_name, attribute)
    allowed = tuple(
        getattr(importlib.import_module(base.rpartition(".")[0]), base.rpartition(".")[2]) for base in bases
    )
    found = getattr(module, attribute, None)
    if attribute.startswith("_") or not isinstance(found, type) or not issubclass(found, allowed):
        classes = [one for one, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, allowed)]
        raise UserError(
            f"`{module_name}` has no {' or '.join(base.__name__ for base in allowed)} called `{attribute}`.",
            suggestion=_full(module_name, nearest(attribute, classes)),
        )
    return found


def _imported(module_name: str, attribute: str) -> ModuleType:
    if any(part.startswith("_") for part in (*module_name.split("."), attribute)):
        raise UserError(f"`{module_name}.{attribute}` is private; name a public class.")
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"`{module_name}.{attribute}` cannot be imported ({error}).") from error


def _full(module_name: str, attribute: str | None) -> str | None:
    return f"{module_name}.{attribute}" if attribute else None
