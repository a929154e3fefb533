"""Compilation of the trained network by PyTorch."""

import os
import shutil

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from mav_lightning.common.errors import UserError
from mav_lightning.modules.base import NetworkModule
from mav_lightning.training.fsdp2 import FSDP2, FSDP2_NAME

__all__ = ["CompileNetwork"]


class CompileNetwork(Callback):
    """Compile the denoiser's network in place, so that the keys of its weights stay as they are.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.compile

    Raises:
        UserError: If the module has no denoiser, its weights are sharded, or the CPU has no C++ compiler.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compile the network at the first step that uses it."""
        net = getattr(pl_module.network, "net", None) if isinstance(pl_module, NetworkModule) else None
        if not isinstance(net, nn.Module):
            raise UserError(
                f"compiles the network of a denoiser, and {type(pl_module).__name__} trains none; remove it.",
                argument="compile",
            )
        if isinstance(trainer.strategy, FSDP2):
            raise UserError(
                f"is not supported with trainer.strategy={FSDP2_NAME}; use one of the two.", argument="compile"
            )
        if trainer.strategy.root_device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            raise UserError("needs a C++ compiler on the CPU; install g++ or set CXX.", argument="compile")
        net.compile()
