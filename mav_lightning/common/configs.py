"""Location of the shipped configs, and iteration over the values of nested ones."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["conf_root", "leaves"]


def conf_root() -> Path:
    """Return the folder of the shipped configs: in the installed package, or next to it in a checkout."""
    package = Path(__file__).parent.parent
    return next(root for root in (package / "conf", package.parent / "conf") if root.is_dir())


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
