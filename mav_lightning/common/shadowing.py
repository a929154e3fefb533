"""Detection of folders that hide this project's packages."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["check_not_shadowed"]

_PACKAGES = ("datamodules", "evaluation")


def check_not_shadowed() -> None:
    """Check that `datamodules` and `evaluation` are the packages installed with `mav_lightning`.

    Raises:
        UserError: A folder or module of the same name comes first on the import path.
    """
    ours = Path(__file__).resolve().parents[2]
    for name in _PACKAGES:
        loaded = sys.modules.get(name)
        if loaded is not None:
            origin = loaded.__file__
        else:
            spec = PathFinder.find_spec(name)
            if spec is None:  # found by another finder, such as that of an editable installation
                continue
            origin = spec.origin
        if origin is not None and Path(origin).resolve().parent != ours / name:
            found = Path(origin).parent if Path(origin).name == "__init__.py" else Path(origin)
            raise UserError(
                f"{found}: hides mav-lightning's package `{name}` ({ours / name}), as it comes first on the import "
                "path; rename it, or start Python in another folder."
            )
