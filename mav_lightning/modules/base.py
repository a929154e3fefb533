"""The contracts of modules: a module that trains one network, and the image encoder that conditions it."""

import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.networks.catalogue import build_network

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
        file, known = Path(checkpoint_path), inspect.signature(cls).parameters
        arguments = _arguments(file, cls.CHECKPOINT_HYPER_PARAMS_KEY, known)
        if cls.network_name not in kwargs:
            arguments[cls.network_name] = _described_network(file, cls.network_name)
        module = cls(**arguments | kwargs)
        stored = torch.load(checkpoint_path, map_location=map_location, weights_only=True)["state_dict"]
        module.load_state_dict(stored, strict=strict is not False)
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


def _skeleton(file: Path) -> dict[str, Any]:
    """Read a checkpoint without the bytes of its tensors."""
    if not file.is_file():
        raise UserError(f"{file}: no such checkpoint; give the path of a .ckpt file.")
    try:
        content = torch.load(file, weights_only=True, mmap=True, map_location="meta")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: cannot be loaded as a checkpoint of tensors and plain values ({reason}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{file}: holds no checkpoint of a training.")
    return content


def _arguments(file: Path, key: str, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the plain arguments that a checkpoint holds for the module."""
    kept = _skeleton(file).get(key)
    given = kept.items() if isinstance(kept, dict) else ()
    return {name: value for name, value in given if name in known and isinstance(value, bool | int | float | str)}


def _described_network(file: Path, name: str) -> nn.Module:
    described = _skeleton(file).get("network")
    if not isinstance(described, dict):
        raise UserError(f"{file}: does not describe its network; pass it as `{name}`.")
    return build_network(described, f"{file}: network")
