"""From the condition that this project's denoisers take to what an image network of diffusers was trained to read.

A condition is either the embedding of an image, shape (B, D), or what the network's own text encoder makes of a
caption, shape (B, L, D). Zeros mean "no condition", for which the network reads the empty caption.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.diffusers_library import diffusers_class
from mav_lightning.common.errors import UserError

__all__ = [
    "AddedConditioning", "Conditioned", "NetworkConditioning", "ProjectedConditioning", "UnclipConditioning",
]  # fmt: skip


class Conditioned(NamedTuple):
    """What an image network reads besides the noisy image and its level.

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
        """Convert conditions."""
        if cond.ndim == 2:
            return Conditioned(self.cond_proj(cond), _context(self.null_context, cond) if self.text else {})
        return Conditioned(None, _context(self.null_context, cond, cond))


class ProjectedConditioning(NetworkConditioning):
    """Conditioning of the decoders of Stable unCLIP: an image embedding and the level of the noise in it, here none.

    Args:
        channels: Length of the image embedding.
        tokens: Tokens of a caption.
        context_channels: Channels of the tokens that the network attends to.
    """

    null_context: Tensor
    text = False

    def __init__(self, channels: int, tokens: int, context_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("null_context", torch.zeros(tokens, context_channels))

    def forward(self, cond: Tensor) -> Conditioned:
        """Convert conditions; the caption is the empty one."""
        half = self.channels // 2
        level = cond.new_ones(self.channels).where(torch.arange(self.channels, device=cond.device) < half, 0)
        labels = torch.cat([cond, level.expand_as(cond)], dim=1)  # cosines, then sines, of level 0
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
        """Convert conditions."""
        image, text = (cond, None) if cond.ndim == 2 else (cond[:, 0], cond[:, 1:])
        rows = _with_null(self.null_text, image, text)
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


def _context(null: Tensor, cond: Tensor, text: Tensor | None = None) -> dict[str, Tensor]:
    return {"encoder_hidden_states": _with_null(null, cond, text)}


def _with_null(null: Tensor, cond: Tensor, text: Tensor | None) -> Tensor:
    """Return captions, with the empty one in place of those that are all zeros or None."""
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
