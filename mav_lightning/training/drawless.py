"""Layers that draw no random numbers, whose calls `SampleRandom` need not watch."""

from collections.abc import Iterator

from torch import nn

__all__ = ["drawless"]

# Layers of PyTorch whose forward pass draws nothing and calls the same kernels whether a mode watches or not. PyTorch's
# attention and transformers are not among them: they choose other kernels while one does.
_LAYERS = {
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding,
    nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
    nn.SiLU, nn.GELU, nn.ReLU, nn.Sigmoid, nn.Tanh,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle,
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList,
}  # fmt: skip
_OURS = "mav_lightning.nn."


def drawless(root: nn.Module) -> Iterator[nn.Module]:
    """Yield the topmost submodules whose forward pass draws no random numbers, as far as their types tell.

    They consist of layers of this project and of some of PyTorch's. What anybody else has written, subclassed, hooked
    or compiled may draw, and so may what contains it.

    Args:
        root: Module to search. It may be one of them itself.
    """
    if all(_draws_nothing(module) for module in root.modules()):
        yield root
        return
    for child in root.children():
        yield from drawless(child)


def _draws_nothing(module: nn.Module) -> bool:
    known = type(module) in _LAYERS or type(module).__module__.startswith(_OURS)
    hooked = module._forward_hooks or module._forward_pre_hooks
    return known and not hooked and "forward" not in vars(module) and module._compiled_call_impl is None
