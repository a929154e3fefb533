"""The contracts of modules: a module that trains one network, and the image encoder that conditions it."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.log_names import loss_name
from mav_lightning.networks.catalogue import build_network
from mav_lightning.networks.checkpoint_reader import read_checkpoint

__all__ = ["ImageEncoder", "NetworkModule"]


class NetworkModule(LightningModule):
    """Base LightningModule that trains one network.

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

    def training_facts(self) -> dict[str, Any]:
        """Return what is known of the training data only after training, as fields of `networks.card.Trained`."""
        return {}

    def log_loss(self, loss: Tensor, split: str, size: int) -> Tensor:
        """Log the loss of a batch, and return it.

        Args:
            loss: The loss, a scalar.
            split: ``train``, ``val`` or ``test``.
            size: Number of samples in the batch.
        """
        self.log(loss_name(split), loss, batch_size=size, sync_dist=split != "train", prog_bar=True)
        return loss

    def prediction_seeds(self, batch_idx: int, size: int) -> range:
        """Return a seed for each sample of a batch to predict, which no other batch of any process has.

        Args:
            batch_idx: Number of the batch in this process.
            size: Number of samples in the batch.
        """
        first = (batch_idx * self.trainer.world_size + self.trainer.global_rank) << 16  # room for any batch size
        return range(first, first + size)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record which part of the state dict is the network, and the arguments that are plain values."""
        checkpoint["network_name"] = self.network_name
        arguments = {name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters}
        plain = {name: value for name, value in arguments.items() if isinstance(value, bool | int | float | str)}
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = plain

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's is a descriptor
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Self:
        """Build the module from a checkpoint, with its trained weights.

        A checkpoint may come from anyone. Its network is built from the closed catalogue of `mav_lightning.networks`,
        and of the other arguments only plain values are taken from it; no other code is imported or called.

        Args:
            checkpoint_path: Local path of the checkpoint.
            map_location: Device for the weights, see `torch.load`. None for the device they were saved from.
            strict: Whether the weights must be exactly those of the module. None for True.
            **kwargs: Arguments of the module, in place of those in the checkpoint: objects such as `denoising` have
                their defaults unless passed here. A network that the checkpoint does not describe, as after a training
                without a config, must be passed under its name.

        Raises:
            UserError: If the file is no such checkpoint, or its network cannot be built.
        """
        file = Path(checkpoint_path)
        checkpoint = read_checkpoint(file, map_location)
        arguments = _plain_arguments(cls, checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY)) | kwargs
        if cls.network_name not in arguments:
            description = checkpoint.get("network")
            if not isinstance(description, dict):
                raise UserError(f"{file}: does not describe its network; pass it as `{cls.network_name}`.")
            arguments[cls.network_name] = build_network(description, f"{file}: network")
        module, stored = cls(**arguments), checkpoint["state_dict"]
        try:
            module.load_state_dict(stored, strict=strict is not False)
        except RuntimeError as error:
            raise UserError(
                f"{file}: the weights do not fit a {cls.__name__} ({str(error).splitlines()[0]})."
            ) from error
        device = next((value.device for value in stored.values()), torch.device("cpu"))
        return module.to(device).eval()


class ImageEncoder(ABC):
    """Frozen encoder of images, neither trained nor saved with the module that uses it.

    Attributes:
        channels: Length D of the embeddings.
    """

    channels: int

    @abstractmethod
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] as vectors (B, D), on the device of the images."""


def _plain_arguments(module: type[LightningModule], kept: object) -> dict[str, Any]:
    """Return the arguments of a module among plain values from a checkpoint."""
    known = inspect.signature(module).parameters
    given = kept.items() if isinstance(kept, dict) else ()
    return {name: value for name, value in given if name in known and isinstance(value, bool | int | float | str)}
