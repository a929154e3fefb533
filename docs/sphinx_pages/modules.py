"""The reference of Python: every module of a package with the public names that it defines."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

PACKAGES = ("mav_lightning", "datamodules", "evaluation")
COMMAND_LINE = "mav_lightning.cli"  # described by the command reference


def public_modules() -> Iterator[ModuleType]:
    """Yield all modules that define public names, in the order of their names."""
    for package in PACKAGES:
        found = importlib.import_module(package)
        names = [package, *(one.name for one in pkgutil.walk_packages(found.__path__, f"{package}."))]
        for name in names:
            if name.startswith(COMMAND_LINE) or name.endswith("__main__"):
                continue
            module = importlib.import_module(name)
            if defined_names(module):
                yield module


def defined_names(module: ModuleType) -> list[str]:
    """Return the names in ``__all__`` of classes and functions that the module itself defines."""
    public = [(name, getattr(module, name)) for name in getattr(module, "__all__", [])]
    return [name for name, value in public if hasattr(value, "__qualname__") and value.__module__ == module.__name__]


def page_of(module: str) -> str:
    """Return the package on whose page a module is described: the innermost, or the top-level module itself."""
    package = importlib.import_module(module)
    return module if hasattr(package, "__path__") else module.rpartition(".")[0]


def module_reference(package: str) -> str:
    """Return the Markdown of a page: one section per module of a package.

    Args:
        package: Dotted name of the package. Modules of its subpackages have pages of their own.
    """
    return "\n".join(_section(module) for module in public_modules() if page_of(module.__name__) == package)


def _section(module: ModuleType) -> str:
    name, members = module.__name__, ", ".join(defined_names(module))
    return (
        f"## `{name.rpartition('.')[2]}`\n\nModule `{name}`.\n\n"
        f"```{{eval-rst}}\n.. automodule:: {name}\n   :members: {members}\n```\n"
    )
