"""Where the shipped configs are."""

from pathlib import Path

__all__ = ["conf_root"]


def conf_root() -> Path:
    """The folder of the shipped configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    return next(root for root in (package / "conf", package.parent / "conf") if root.is_dir())
