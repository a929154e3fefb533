"""From the condition that this project's denoisers take to what an image network of diffusers was trained to read.

A condition is either the embedding of an image, shape (B, D), or what the network's own text encoder makes of a
caption, shape (B, L, D). Zeros mean "no condition", for which the network reads the empty caption.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.diffusers_library import diffusers_class
from mav_lightning.common.errors import UserError
from mav_lightning.pretrained.timesteps import NoiseSchedule

__all__ = [
    "AddedConditioning", "Conditioned", "NetworkConditioning", "ProjectedConditioning", "UnclipConditioning",
    "caption_or_empty",
]  # fmt: skip


class Conditioned(NamedTuple):
    """Conditioning of an image network, besides the noise level.

    Attributes:
        emb: Added to the embedding of the noise level, shape (B, E). None for nothing.
        arguments: Further arguments of the network's ``forward``, one row per sample.
    """

    emb: Tensor | None
    arguments: dict[str, Tensor]


class NetworkConditioning(nn.Module, ABC):
    """Base of the ways in which image networks are conditioned.

    Attributes:
        channels: Length D of the image embedding.
        text: Whether captions in the form of the network's own text encoder are accepted.
    """

    channels: int
    text: bool

    @abstractmethod
    def forward(self, cond: Tensor) -> Conditioned:
        """Convert conditions (B, D) or (B, L, D)."""


class AddedConditioning(NetworkConditioning):
    """Conditioning of a network that reads no image embeddings: they get a projection that starts at zero.

    Args:
        channels: Length of the image embedding.
        emb: Length of the embedding of the noise level.
        tokens: Tokens of a caption. Not used without `context_channels`.
        context_channels: Channels of the tokens that the network attends to. 0 if it reads no captions.
    """

    null_context: Tensor

    def __init__(self, channels: int, emb: int, tokens: int, context_channels: int) -> None:
        super().__init__()
        self.channels, self.text = channels, context_channels > 0
        self.cond_proj = nn.Linear(channels, emb, bias=False)
        nn.init.zeros_(self.cond_proj.weight)
        if self.text:
            self.register_buffer("null_context", torch.zeros(tokens, context_channels))

    def forward(self, cond: Tensor) -> Conditioned:
        """Convert conditioning inputs to `Conditioned`, which the layers of the network read."""
        if cond.ndim == 2:
            return Conditioned(self.cond_proj(cond), _context(self.null_context, cond) if self.text else {})
        return Conditioned(None, _context(self.null_context, cond, cond))


class ProjectedConditioning(NetworkConditioning):
    """Conditioning of the decoders of Stable unCLIP: an image embedding and the level of the noise in it.

    Conditions (B, D) are embeddings without noise; `augmented` makes those with noise, (B, 2 · D).

    Args:
        channels: Length D of the image embedding.
        tokens: Tokens of a caption.
        context_channels: Channels of the tokens that the network attends to.
        noising: Noise schedule of the embeddings in the source's training. None if unknown.
    """

    null_context: Tensor
    embedding_mean: Tensor
    embedding_std: Tensor
    text = False

    def __init__(self, channels: int, tokens: int, context_channels: int, noising: NoiseSchedule | None = None) -> None:
        super().__init__()
        self.channels, self.noising = channels, noising
        self.register_buffer("null_context", torch.zeros(tokens, context_channels))
        if noising is not None:
            self.register_buffer("embedding_mean", torch.zeros(channels))
            self.register_buffer("embedding_std", torch.ones(channels))

    def augmented(self, image: Tensor, level: int, noise: Tensor) -> Tensor:
        """Add noise to image embeddings as the source's training did, and append the level's embedding.

        Args:
            image: Image embeddings with the norm of the source's encoder, shape (B, D).
            level: Step of the embeddings' noise schedule, 0 for the least noise.
            noise: Unit noise, shape (B, D).

        Returns:
            Conditions, shape (B, 2 · D).

        Raises:
            UserError: If the schedule is unknown, or has no such level.
        """
        if self.noising is None:
            raise UserError("the source came without `image_normalizer` and `image_noising_scheduler`.")
        if not 0 <= level < self.noising.num_train_timesteps:
            raise UserError(f"must be from 0 to {self.noising.num_train_timesteps - 1}, got {level}.", argument="level")
        signal = (1 + self.noising.sigmas()[level].square()).rsqrt().item()
        scaled = (image - self.embedding_mean) / self.embedding_std
        noisy = signal * scaled + math.sqrt(1 - signal**2) * noise
        image = noisy * self.embedding_std + self.embedding_mean
        return torch.cat([image, _level_embedding(level, self.channels).to(image).expand_as(image)], dim=1)

    def forward(self, cond: Tensor) -> Conditioned:
        """Convert conditions; the caption is the empty one."""
        labels = cond
        if cond.shape[1] == self.channels:
            labels = torch.cat([cond, _level_embedding(0, self.channels).to(cond).expand_as(cond)], dim=1)
            labels = labels * ~_absent(cond)[:, None]
        return Conditioned(None, {"class_labels": labels, **_context(self.null_context, cond)})


class UnclipConditioning(NetworkConditioning):
    """Conditioning of the unCLIP decoder of Karlo: an image embedding, a caption's embedding, and its tokens.

    Conditions of shape (B, 2 + L, D) hold these in that order; tokens of zeros are not attended to.

    Args:
        config: Arguments of diffusers' ``UnCLIPTextProjModel``.
        tokens: Tokens L of a caption.

    Raises:
        UserError: If the arguments do not fit the class.
    """

    null_text: Tensor
    text = True

    def __init__(self, config: Mapping[str, Any], tokens: int) -> None:
        super().__init__()
        kind = diffusers_class("diffusers.pipelines.deprecated.unclip.text_proj", "UnCLIPTextProjModel")
        try:
            self.text_proj = kind(**config)
        except TypeError as error:
            raise UserError(f"does not describe an UnCLIPTextProjModel ({error}).", argument="text_proj") from error
        self.channels = self.text_proj.config.clip_embeddings_dim
        self.register_buffer("null_text", torch.zeros(1 + tokens, self.channels))

    def forward(self, cond: Tensor) -> Conditioned:
        """Convert conditioning inputs to `Conditioned`, which the layers of the network read."""
        image, text = (cond, None) if cond.ndim == 2 else (cond[:, 0], cond[:, 1:])
        rows = caption_or_empty(self.null_text, image, text)
        image = torch.where(_absent(image)[:, None], self.text_proj.learned_classifier_free_guidance_embeddings, image)
        context, labels = self.text_proj(
            image_embeddings=image,
            prompt_embeds=rows[:, 0],
            text_encoder_hidden_states=rows[:, 1:],
            do_classifier_free_guidance=False,
        )
        read = (rows[:, 1:] != 0).any(2)
        read = F.pad(read, (context.shape[1] - read.shape[1], 0), value=True)
        return Conditioned(
            None, {"encoder_hidden_states": context, "class_labels": labels, "attention_mask": read.to(context.dtype)}
        )


def _level_embedding(level: int, channels: int) -> Tensor:
    """Return cosines, then sines, of a level at frequencies from 1 down to 1/10000, shape (channels,), float32."""
    half = channels // 2
    angles = level * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    return F.pad(torch.cat([angles.cos(), angles.sin()]), (0, channels % 2))


def _context(null: Tensor, cond: Tensor, text: Tensor | None = None) -> dict[str, Tensor]:
    return {"encoder_hidden_states": caption_or_empty(null, cond, text)}


def caption_or_empty(null: Tensor, cond: Tensor, text: Tensor | None) -> Tensor:
    """Return captions, with the empty one in place of those that are all zeros.

    Args:
        null: The empty caption, shape (L, D).
        cond: Conditions, shape (B, ...), whose number and type the result has.
        text: Captions, shape (B, L, D). None for empty ones.

    Raises:
        ValueError: If captions have another shape.
    """
    empty = null.to(cond.dtype).expand(len(cond), *null.shape)
    if text is None:
        return empty
    if text.shape[1:] != null.shape:
        raise ValueError(
            f"captions must have the shape (B, {null.shape[0]}, {null.shape[1]}), got {tuple(text.shape)}."
        )
    return torch.where(_absent(text)[:, None, None], empty, text)


def _absent(cond: Tensor) -> Tensor:
    return (cond == 0).flatten(1).all(1)
