"""The contracts of networks: what training, sampling, transfer, certificates and cost counts rely on.

To add a network, subclass `SpaceTimeNetwork` (images and clips) or `PriorNetwork` (embeddings). To add a temporal layer
to `mav_lightning.nn.unet.SpaceTimeUNet`, subclass `TemporalLayer` and name it as the U-Net's ``temporal_layer``.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

from torch import Tensor, nn

from mav_lightning.common.errors import UserError

__all__ = [
    "ImageAutoencoder",
    "ImagePrior",
    "Network",
    "PriorNetwork",
    "SpaceTimeNetwork",
    "TemporalLayer",
    "TextImageEncoder",
    "check_levels",
]


class TemporalLayer(nn.Module, ABC):
    """A layer that mixes the frames of a clip.

    A layer for the U-Net's ``temporal_layer`` is built with the number of channels and the length of the time
    embedding, ``layer(channels, time_channels)``, and maps clips (B, C, T, H, W) and time embeddings (B, T, E) to clips
    of the same shape, ``layer(x, time)``. Images skip it.
    """

    @abstractmethod
    def reset_to_identity(self) -> None:
        """Set the weights so that every frame is processed independently, as before training."""

    @abstractmethod
    def temporal_activity(self) -> float:
        """Return a nonnegative number that is 0 if and only if the layer acts as the identity along time."""

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the submodules that images skip: by default the whole layer; none if it mixes no frames."""
        yield self


class Network(nn.Module, ABC):
    """A network that a denoiser wraps."""

    @abstractmethod
    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Compute the network's output for noisy samples.

        Args:
            x: Noisy samples: images (B, C, H, W), clips (B, C, T, H, W) or embeddings (B, D).
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Conditioning, shape (B, ...). Zeros mean "no condition".
            fps: Frame rate of each clip in frames per second, shape (B,). None for images and embeddings.
        """

    def training_sigmas(self) -> Tensor | None:
        """Return the noise levels of the training, increasing, shape (N,), float64. None if they were continuous."""
        return None


class SpaceTimeNetwork(Network):
    """A network for images (B, C, H, W) and clips (B, C, T, H, W).

    Attributes:
        in_channels: Input channels: noisy RGB first, then concatenated conditioning.
        out_channels: Output channels.
        cond_channels: Length of the image embedding.
        downsampling: Height and width of the input must be multiples of this number.
        reads_captions: Whether conditions may also be (B, 2 + length, D): an image embedding, then those of a caption.
    """

    reads_captions: bool = False

    in_channels: int
    out_channels: int
    cond_channels: int
    downsampling: int

    @property
    @abstractmethod
    def input_weight(self) -> nn.Parameter:
        """Weight of the layer that reads the input; axis 1 counts input channels, in their order.

        A network with further input channels starts from this weight, padded with zeros.
        """

    def check_input(self, x: Tensor, fps: Tensor | None) -> int | None:
        """Check the shape of images or clips, and return the number of frames of clips, None for images.

        Args:
            x: Images (B, C, H, W) or clips (B, C, T, H, W).
            fps: Frame rate of each clip, shape (B,). None for images.

        Raises:
            ValueError: If the shape is not supported, or clips come without `fps`.
        """
        kind, shape = type(self).__name__, tuple(x.shape)
        if x.ndim not in (4, 5):
            raise ValueError(f"{kind} expects images (B, C, H, W) or clips (B, C, T, H, W), got {shape}.")
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"{kind}: has {self.in_channels} input channels in the second dimension, got {x.shape[1]} in {shape}."
            )
        if x.shape[-1] % self.downsampling or x.shape[-2] % self.downsampling:
            raise ValueError(
                f"{kind}: height and width must be multiples of {self.downsampling}, got {shape[-2]}×{shape[-1]} "
                "pixels."
            )
        if x.ndim == 5 and fps is None:
            raise ValueError(f"{kind}: clips need `fps`, shape (B,), in frames per second.")
        return x.shape[2] if x.ndim == 5 else None

    def temporal_layers(self) -> dict[str, TemporalLayer]:
        """Return the layers that mix frames, by name, in the order they were built."""
        layers = {name: layer for name, layer in self.named_modules() if isinstance(layer, TemporalLayer)}
        return {name: layer for name, layer in layers.items() if any(True for _ in layer.temporal_parts())}

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield all submodules that mix frames or that images skip. Extend it for those outside of temporal layers."""
        for layer in self.temporal_layers().values():
            yield from layer.temporal_parts()

    def temporal_names(self) -> set[str]:
        """Return the names of all parameters and buffers that images skip, as in the state dict."""
        parts = set(self.temporal_parts())
        names = {name: module for name, module in self.named_modules() if module in parts}
        return {f"{name}.{key}" for name, module in names.items() for key in module.state_dict()}

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that images skip, by name."""
        temporal = self.temporal_names()
        return {name: parameter for name, parameter in self.named_parameters() if name in temporal}

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that adapt spatial layers, by name; they are trained even if those are frozen."""
        return {}

    def insert_blocks(self, missing: Collection[str]) -> set[str]:
        """Make spatial blocks that a parent lacks start as the identity, so that the network still equals its parent.

        Args:
            missing: Names of the weights that the parent lacks, as in the state dict.

        Returns:
            Names of the weights of these blocks; none for a network that can have no such blocks.
        """
        return set()

    def temporal_activity(self) -> dict[str, float]:
        """Return each temporal layer's distance from the identity, computed from its weights; 0 before training.

        Compare layers of one kind only, since each kind normalizes its distance differently.
        """
        return {name: layer.temporal_activity() for name, layer in self.temporal_layers().items()}


class PriorNetwork(Network):
    """A network for image embeddings (B, D), conditioned on caption embeddings (B, 1 + length, D).

    Attributes:
        channels: Length D of the embeddings.
        length: Maximum number of tokens in a caption.
    """

    channels: int
    length: int


class ImagePrior(nn.Module, ABC):
    """A model that predicts image embeddings from captions: the prior P (§3.1).

    Attributes:
        keeps_captions: Whether predictions are the conditions of a decoder that also reads captions:
            (B, 2 + length, D), an image embedding of any norm and then the caption's embeddings.
    """

    keeps_captions: bool = False

    @abstractmethod
    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Predict unit image embeddings.

        Args:
            captions: Caption and token embeddings as `TextImageEncoder.encode_words` returns them, (B, 1 + length, D).
            seeds: One seed per caption; an embedding depends on its own caption and seed only.

        Returns:
            Image embeddings, shape (B, D); see `keeps_captions` for the other form.
        """


class ImageAutoencoder(nn.Module, ABC):
    """A frozen autoencoder for latent diffusion: the cascade's decoder may work on its latents.

    Attributes:
        channels: Channels C of the latents.
        factor: Height and width of an image in multiples of those of its latents.
    """

    channels: int
    factor: int

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [-1, 1] as latents (B, C, H / factor, W / factor) of about unit variance."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, H, W) to images (B, 3, H · factor, W · factor), in [-1, 1] up to overshoot."""


class TextImageEncoder(nn.Module, ABC):
    """A pretrained encoder of images and captions into one space, such as CLIP.

    Attributes:
        channels: Length D of the embeddings.
        length: Maximum number of tokens in a caption.
        size: Height and width of the images it was trained on, in pixels.
        no_images: Why the encoder embeds no images, for messages. Empty if it does.
        no_texts: Why the encoder embeds no captions, for messages. Empty if it does.
    """

    no_images: str = ""
    no_texts: str = ""

    channels: int
    length: int
    size: int

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""

    @abstractmethod
    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions and each of their tokens, shape (N, 1 + length, D), as the prior reads them.

        The first row is `encode_text`. One row per token follows, in the same space; the remaining rows are zeros.
        """

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions as unit vectors (N, D). An empty caption is allowed."""
        return self.encode_words(captions)[:, 0]

    def unread(self, caption: str) -> str:
        """Return the end of a caption that exceeds the maximum number of tokens; empty if everything is read."""
        return ""

    def unknown_words(self, caption: str, known: Collection[str]) -> list[str]:
        """Return the words of a caption that the encoder was not trained on.

        Args:
            caption: The caption.
            known: Words of the training captions, as the encoder splits them.

        Returns:
            Words in their order, each once. Encoders that read parts of words know all of them.
        """
        return []


def check_levels(multipliers: Sequence[int], attention: Sequence[int]) -> None:
    """Check that a U-Net has levels, and has all those that are given attention.

    Args:
        multipliers: Channels of each level, in multiples of the first one's.
        attention: Levels with attention, counted from 0 at the finest.

    Raises:
        UserError: If there is no level, or a level with attention does not exist.
    """
    if not multipliers:
        raise UserError("needs one number per level, at least one.", argument="multipliers")
    if wrong := [level for level in attention if level >= len(multipliers)]:
        raise UserError(
            f"level {wrong[0]} does not exist; `multipliers` defines levels 0 to {len(multipliers) - 1}.",
            argument="attention",
        )
