"""Packages of the user's own whose classes configs, studies and protocols may name."""

import hashlib
import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["allow", "allowed_packages", "import_class", "is_allowed", "source_sha256"]

_SOURCES = (".py", ".so", ".pyd")
_allowed: dict[str, None] = {}


def allow(packages: Iterable[str]) -> None:
    """Let configs of this process name the public classes of `packages`.

    Args:
        packages: Names of importable packages or modules, for example ``mylab``.

    Raises:
        UserError: If a name is not that of an importable package.
    """
    for package in packages:
        if not isinstance(package, str) or not all(part.isidentifier() for part in package.split(".")):
            raise UserError(f"{package!r} is not the name of a package; give a name such as `mylab`.", argument="allow")
        _files(package)
        _allowed[package] = None


def allowed_packages() -> list[str]:
    """Return the packages allowed in this process, in the order they were allowed."""
    return list(_allowed)


def is_allowed(name: str) -> bool:
    """Return whether the dotted `name` belongs to an allowed package."""
    return any(name == package or name.startswith(f"{package}.") for package in _allowed)


def import_class(name: str) -> type:
    """Import a public class of an allowed package.

    Args:
        name: Dotted name, ``package.module.Class``.

    Raises:
        UserError: If the package is not allowed or cannot be imported, or the name is private, not a class, or
            defined outside the package.
    """
    module_name, _, attribute = name.rpartition(".")
    if not module_name or not is_allowed(module_name):
        package = name.partition(".")[0]
        raise UserError(
            f"`{name}` is not in this project, and `{package}` is not allowed; if it is a package of yours, add "
            f"--allow {package} to the command, or `allow: [{package}]` to the study."
        )
    if any(part.startswith("_") for part in name.split(".")):
        raise UserError(f"`{name}` is private; name a public class.")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise UserError(f"`{name}` cannot be imported ({error}).") from error
    except AttributeError as error:
        raise UserError(f"`{module_name}` has no class `{attribute}`.") from error
    if not isinstance(found, type) or not is_allowed(found.__module__):
        raise UserError(f"`{name}` must be a class defined in an allowed package.")
    return found


def source_sha256(package: str) -> str:
    """Return the sha256 of all source files of a package: their relative paths and contents.

    Raises:
        UserError: If there is no such package.
    """
    digest = hashlib.sha256()
    for name, file in _files(package):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(package: str) -> list[tuple[str, Path]]:
    """Return the source files of a package as (relative path, file), sorted."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or (spec.origin in (None, "built-in", "frozen") and not spec.submodule_search_locations):
        raise UserError(
            f"there is no package `{package}` to import; install it, or add its parent folder to PYTHONPATH.",
            argument="allow",
        )
    if not spec.submodule_search_locations:
        assert spec.origin is not None
        return [(Path(spec.origin).name, Path(spec.origin))]
    roots = [Path(place) for place in spec.submodule_search_locations]
    found = ((str(file.relative_to(root)), file) for root in roots for file in root.rglob("*") if file.is_file())
    return sorted((name, file) for name, file in found if file.suffix in _SOURCES)
