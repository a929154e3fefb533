"""The contracts of modules: a module that trains one network, and the image encoder that conditions it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning import LightningModule
from torch import Tensor, nn

__all__ = ["ImageEncoder", "NetworkModule"]


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

    def network_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the part of the module's config that builds the network.

        Args:
            config: Config of the module.
        """
        node: Mapping[str, Any] = config[self.network_name]
        return node

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record which part of the state dict is the network, for exports of unfinished trainings."""
        checkpoint["network_name"] = self.network_name


class ImageEncoder(ABC):
    """Frozen encoder of images, neither trained nor saved with the module that uses it.

    Attributes:
        channels: Length D of the embeddings.
    """

    channels: int

    @abstractmethod
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] as vectors (B, D), on the device of the images."""
