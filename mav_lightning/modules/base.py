"""The contract of a module that trains one network."""

from typing import Any, ClassVar

from lightning import LightningModule
from torch import nn

__all__ = ["NetworkModule"]


class NetworkModule(LightningModule):
    """LightningModule whose result is one network.

    Training saves that network alone, under the keys of its own state dict, so that it loads without the module.

    Attributes:
        network_name: Name of the attribute that holds the network, and of the constructor argument that takes it.
    """

    network_name: ClassVar[str]

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        return self.get_submodule(self.network_name)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record which part of the state dict is the network, for exports of unfinished trainings."""
        checkpoint["network_name"] = self.network_name
