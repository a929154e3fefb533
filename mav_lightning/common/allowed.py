"""Packages of the user's own whose classes configs, studies and protocols may name."""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.own_code import is_own_file, raised_at

__all__ = ["allow", "allowed_packages", "import_class", "is_allowed", "own_imports", "source_sha256"]

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
        if error.obj is sys.modules.get(module_name):
            raise UserError(f"`{module_name}` has no class `{attribute}`.") from error
        raise UserError(f"`{name}` cannot be imported; its file raises {raised_at(error)}.") from error
    except Exception as error:  # whatever the file of somebody else raises
        raise UserError(f"`{name}` cannot be imported; its file raises {raised_at(error)}.") from error
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


def own_imports(package: str) -> list[str]:
    """Return the top-level packages of the user's own that the source of a package imports.

    Raises:
        UserError: If there is no such package, or it cannot be parsed.
    """
    found: dict[str, None] = {}
    for _, file in _files(package):
        if file.suffix != ".py" or not is_own_file(file):
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise UserError(f"{file}: cannot be parsed ({error}).", argument="allow") from error
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module.partition(".")[0]] = None
    return sorted(name for name in found if name != package.partition(".")[0] and _is_own_package(name))


def _is_own_package(name: str) -> bool:
    spec = PathFinder.find_spec(name)
    places = [] if spec is None else [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(place is not None and is_own_file(Path(place)) for place in places)


def _files(package: str) -> list[tuple[str, Path]]:
    """Return the source files of a package as (relative path, file), sorted."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    except Exception as error:  # whatever the file of the parent package raises
        raise UserError(f"`{package}` cannot be imported; it raises {raised_at(error)}.", argument="allow") from error
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
