"""Location of the shipped configs, and iteration over the values of nested ones."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError, nearest

__all__ = ["conf_root", "find_protocol", "leaves"]


def conf_root() -> Path:
    """Return the folder of the shipped configs: in the installed package, or next to it in a checkout."""
    package = Path(__file__).parent.parent
    return next(root for root in (package / "conf", package.parent / "conf") if root.is_dir())


def find_protocol(name: str | Path) -> Path:
    """Find the file of an evaluation protocol.

    Args:
        name: Name of a shipped protocol, or path of a ``.yaml`` file.

    Raises:
        UserError: If there is no such protocol.
    """
    known = {file.stem: file for file in sorted((conf_root() / "protocol").glob("*.yaml"))}
    if str(name).endswith(".yaml"):
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file; known are {', '.join(known)}.", argument="protocol")
        return Path(name)
    if str(name) not in known:
        raise UserError(
            f"there is no protocol `{name}`; known are {', '.join(known)}, or give the path of a .yaml file.",
            argument="protocol",
            suggestion=nearest(str(name), known),
        )
    return known[str(name)]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf of nested mappings and lists, in order.

    >>> dict(leaves({"net": {"channels": 16, "levels": [1, 2]}}))
    {'net.channels': 16, 'net.levels.0': 1, 'net.levels.1': 2}
    """
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
