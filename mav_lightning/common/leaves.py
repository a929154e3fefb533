"""What a nested config holds, by dotted key."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["leaves"]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in mappings and lists, in their order; items of lists by number.

    >>> dict(leaves({"net": {"channels": 16, "levels": [1, 2]}}))
    {'net.channels': 16, 'net.levels.0': 1, 'net.levels.1': 2}
    """
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
