"""Activation checkpointing: less memory for the backward pass, which computes again what was not kept."""

import functools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

__all__ = ["ActivationCheckpointing", "run_layer"]

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


def run_layer(layer: nn.Module, mode: ActivationCheckpointing, *inputs: Tensor | None) -> Tensor:
    """Run a layer without random numbers, and keep for the backward pass what the mode names.

    Output and gradients have the same bits in every mode.

    Args:
        layer: The layer.
        mode: ``off`` keeps everything; ``selective`` keeps inputs and the outputs of convolutions, matrix products and
            attention; ``full`` keeps inputs only, and computes the whole layer again.
        inputs: Arguments of the layer.
    """
    if mode == "off" or not torch.is_grad_enabled():
        out: Tensor = layer(*inputs)
        return out
    again = functools.partial(checkpoint, layer, *inputs, use_reentrant=False, preserve_rng_state=False)
    if mode == "selective":
        again.keywords["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _EXPENSIVE)
    computed: Tensor = again()
    return computed
