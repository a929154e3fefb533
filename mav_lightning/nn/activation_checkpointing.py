"""Activation checkpointing: less memory for the backward pass, which computes again what was not kept."""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

__all__ = ["ActivationCheckpointing", "run_layer"]

Output = TypeVar("Output")
ActivationCheckpointing = Literal["off", "selective", "full"]

_ATEN = torch.ops.aten
# Their outputs are kept by `selective`: what is between them costs little to compute again, and holds as much memory.
_EXPENSIVE = [
    _ATEN.convolution.default,
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN.baddbmm.default,
    _ATEN._scaled_dot_product_flash_attention.default,
    _ATEN._scaled_dot_product_efficient_attention.default,
    _ATEN._scaled_dot_product_cudnn_attention.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
]


def run_layer(layer: Callable[..., Output], mode: ActivationCheckpointing, *inputs: Any, **named: Any) -> Output:
    """Run a layer, and store the activations that the mode names for the backward pass.

    Output and gradients have the same bits in every mode.

    Args:
        layer: The layer, or a function that calls it.
        mode: ``off`` keeps everything; ``selective`` keeps inputs and the outputs of convolutions, matrix products and
            attention; ``full`` keeps inputs only, and computes the whole layer again.
        inputs: Arguments of the layer.
        named: Arguments of the layer, by name.
    """
    if mode == "off" or not torch.is_grad_enabled():
        return layer(*inputs, **named)
    options: dict[str, Any] = {"use_reentrant": False, **named}
    if mode == "selective":
        options["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _EXPENSIVE)
    out: Output = checkpoint(layer, *inputs, **options)
    return out
