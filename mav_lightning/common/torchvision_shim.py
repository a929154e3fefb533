"""Makes torchvision importable where its C++ operators do not match torch.

clean-fid requires torchvision, and PyPI's torchvision is a CUDA build whose operators do not load with a CPU-only
torch. Its Python side then registers fake kernels for operators that are not declared, and ``import torchvision``
(hence torchmetrics and lightning) fails with ``operator torchvision::nms does not exist``. Declaring the missing
schemas is enough, as nothing here calls those operators.

Importing `mav_lightning`, `datamodules` or `evaluation` declares them as soon as torchvision is imported. For scripts
that import lightning first, ``python -m mav_lightning.common.torchvision_shim`` (part of ``make install``) adds a file
to the environment that does the same.
"""

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["HOOK", "ensure_torchvision_imports", "shim_is_needed", "write_hook"]

HOOK = "mav_torchvision.pth"
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_PTH = (
    'import sys; exec("try:\\n from mav_lightning.common.torchvision_hook import add_import_hook'
    '\\nexcept ImportError: pass\\nelse: add_import_hook()")\n'
)
_library: Any = None  # kept for the process's lifetime: dropping it undoes the declarations


def ensure_torchvision_imports() -> None:
    """Declare torchvision's missing operator schemas; do nothing if torchvision is absent or imports by itself."""
    global _library
    if _library is not None or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        library: Any = torch.library  # untyped
        _library = library.Library("torchvision", "DEF")
        for schema in _SCHEMAS.values():
            _library.define(schema)


def shim_is_needed() -> bool:
    """Return whether torchvision imports only with the declared schemas."""
    ensure_torchvision_imports()
    return _library is not None


def write_hook(folder: Path) -> Path | None:
    """Write the file that adds the import hook at every start of Python, or remove it if it is not needed.

    Args:
        folder: Site-packages folder of the environment.

    Returns:
        The file. None if torchvision imports by itself.
    """
    file = folder / HOOK
    if not shim_is_needed():
        file.unlink(missing_ok=True)
        return None
    file.write_text(_PTH)
    return file


if __name__ == "__main__":
    # The hook imports this module by its name, and must find the state of the one that runs.
    from mav_lightning.common.torchvision_shim import write_hook

    write_hook(Path(sysconfig.get_path("purelib")))
