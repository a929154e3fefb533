"""Lets ``import lightning`` work where a CUDA-built torchvision stands beside a CPU-only torch.

clean-fid pulls torchvision in, and PyPI's torchvision is a CUDA build whose C++ operators do not load beside a CPU
torch. Its Python side then registers fake kernels for operators nobody declared, and ``import torchvision`` (hence
torchmetrics and lightning) dies with ``operator torchvision::nms does not exist``. Declaring the missing schemas is
enough: nothing here calls those operators.
"""

import importlib.util

import torch

__all__ = ["ensure_torchvision_imports"]

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None  # must outlive the process: dropping it undoes the declarations


def ensure_torchvision_imports() -> None:
    """Declares torchvision's missing operator schemas; does nothing where torchvision is absent or loads by itself."""
    global _library
    if _library is not None or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS.values():
            _library.define(schema)
