"""Import hook that makes torchvision importable; see `torchvision_shim`.

Imports nothing but `sys`, because it runs at every start of Python.
"""

import sys

__all__ = ["add_import_hook"]


class _Hook:
    """Meta path finder that declares the schemas when torchvision is first imported; it finds nothing itself."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision" and self in sys.meta_path:
            from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

            sys.meta_path.remove(self)
            ensure_torchvision_imports()


def add_import_hook() -> None:
    """Declare the schemas as soon as any package imports torchvision in this process.

    Nothing happens if it is imported already, or if the hook is in place.
    """
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Hook) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Hook())
