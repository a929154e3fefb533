"""An image network of diffusers, extended by time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from einops import rearrange, repeat
from torch import Tensor, nn

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveFloat, PositiveInt
from mav_lightning.nn.activation_checkpointing import ActivationCheckpointing
from mav_lightning.nn.base import SpaceTimeNetwork, TemporalLayer
from mav_lightning.nn.embeddings import FpsConditioning, FrameTime, NumberEmbedding
from mav_lightning.nn.initialization import init_by_name, zero_init
from mav_lightning.nn.temporal_settings import Placement, TemporalSettings
from mav_lightning.nn.time_position import TimePosition
from mav_lightning.pretrained.grown_conditioning import (
    AddedConditioning,
    NetworkConditioning,
    ProjectedConditioning,
    UnclipConditioning,
)
from mav_lightning.pretrained.grown_layers import ClipContext, GrowthSettings, add_time
from mav_lightning.pretrained.lora import add_lora
from mav_lightning.pretrained.timesteps import NoiseSchedule, TimestepOfNoise
from mav_lightning.pretrained.unet_config import ImageNetwork, build_unet, check_unet_config

__all__ = ["GrownUNet"]


class GrownUNet(SpaceTimeNetwork):
    """An image network of diffusers with a temporal layer after every spatial one, as Make-A-Video extends its own.

    Images skip every temporal layer: with the source's weights, the network *is* the source. With temporal layers as
    initialized, the output for a clip equals that for its frames.

    Conditions are image embeddings (B, D), for networks that read captions also what their own text encoder makes of
    them (B, L, D); see `mav_lightning.pretrained.grown_conditioning`.

    References:
        https://huggingface.co/docs/diffusers/api/models/unet2d-cond

    Args:
        kind: Class of the image network in diffusers.
        config: Arguments of that class, as in the source's ``config.json``.
        schedule: Noise schedule of the source's training.
        text_proj: For the unCLIP decoder: arguments of diffusers' ``UnCLIPTextProjModel``. None otherwise.
        image_noising: For the networks of Stable unCLIP: noise schedule of the image embeddings. None if unknown.
        cond_channels: Length of the image embedding. None for the length that the source reads, or 768 if it reads
            none.
        cond_norm: Norm of the image embeddings that the source was trained on. Conditions (B, D), which are unit
            vectors here, are multiplied by it.
        text_tokens: Tokens of a caption. Not used by networks that read none.
        temporal_kernel_size: Temporal kernel size in frames, odd. 0 or 1 disables temporal convolution.
        temporal_attention: Enable temporal self-attention, after every spatial attention.
        temporal_attention_everywhere: Enable temporal self-attention also after residual blocks at levels without
            spatial attention.
        head_channels: Channels of each head of temporal attention.
        fps: Frame-rate conditioning: none, an embedding of the frame rate, also frame times in seconds, or frame times
            in seconds in place of frame indices.
        factorized: If False, use full 3D convolutions instead of pseudo-3D ones.
        identity_init: If False, initialize temporal layers at random instead of as the identity.
        temporal_layer: Class or factory of a further temporal layer after every residual block; see `TemporalLayer`.
            None for no further layer.
        temporal_causal: If True, no frame depends on a later one, as far as temporal convolution and attention go.
        temporal_placement: Whether temporal convolution and attention come ``after`` the spatial ones, ``before`` them
            or in ``parallel``.
        temporal_attention_window: Height and width of the windows in which the tokens of all frames attend to each
            other; 1 for attention along time only.
        temporal_position: How temporal attention distinguishes frames, see `SpaceTimeUNet`.
        lora_rank: Rank of low-rank adapters of spatial attention, which start at zero and are trained even if the
            spatial layers are frozen. 0 for none.
        activation_checkpointing: Activations of residual blocks and attention that are stored for the backward pass,
            with the same result: everything (``off``), the outputs of convolutions, matrix products and attention
            (``selective``), or only inputs, so that they are computed twice (``full``).

    Raises:
        UserError: If diffusers is not installed, or an argument is out of range or describes a network that cannot be
            extended.
    """

    @checked
    @init_by_name
    def __init__(
        self,
        kind: ImageNetwork,
        config: Mapping[str, Any],
        schedule: NoiseSchedule,
        text_proj: Mapping[str, Any] | None = None,
        image_noising: NoiseSchedule | None = None,
        cond_channels: PositiveInt | None = None,
        cond_norm: PositiveFloat = 1.0,
        text_tokens: PositiveInt = 77,
        temporal_kernel_size: NonNegativeInt = 3,
        temporal_attention: bool = True,
        temporal_attention_everywhere: bool = False,
        head_channels: PositiveInt = 32,
        fps: FpsConditioning = "seconds",
        factorized: bool = True,
        identity_init: bool = True,
        temporal_layer: Callable[[int, int], TemporalLayer] | None = None,
        temporal_causal: bool = False,
        temporal_placement: Placement = "after",
        temporal_attention_window: PositiveInt = 1,
        temporal_position: TimePosition = "absolute",
        lora_rank: NonNegativeInt = 0,
        activation_checkpointing: ActivationCheckpointing = "off",
    ) -> None:
        super().__init__()
        check_unet_config(kind, config)
        self.unet = build_unet(kind, config)
        if lora_rank:
            add_lora(self.unet, lora_rank)
        self.in_channels, self.out_channels = self.unet.config.in_channels, self.unet.config.out_channels
        self.downsampling = 2 ** (len(self.unet.config.block_out_channels) - 1)
        self.identity_init, self.cond_norm = identity_init, cond_norm
        emb = self.unet.time_embedding.linear_2.out_features
        self.conditioning = _conditioning(self.unet.config, emb, text_proj, image_noising, cond_channels, text_tokens)
        self.cond_channels = self.conditioning.channels
        self.reads_captions = isinstance(self.conditioning, UnclipConditioning)
        self.timestep = TimestepOfNoise(schedule)
        self.fps_embedding = NumberEmbedding(emb, 0.3, 6.0, zero=identity_init) if fps != "off" else None
        self.frame_time = FrameTime(fps)
        timed = temporal_kernel_size > 1 or temporal_attention or temporal_layer is not None
        self.time_proj = nn.Linear(self.frame_time.channels, emb) if timed else None
        if self.time_proj is not None and identity_init:
            zero_init(self.time_proj)
        temporal = TemporalSettings(
            temporal_kernel_size, factorized, temporal_placement, temporal_causal, temporal_attention_window,
            temporal_position, identity_init,
        )  # fmt: skip
        temporal.check(temporal_attention, temporal_attention_everywhere, [0], timed or fps != "off")
        settings = GrowthSettings(
            temporal, temporal_attention, temporal_attention_everywhere, head_channels, self.frame_time.channels,
            temporal_layer, activation_checkpointing,
        )  # fmt: skip
        self.clip = ClipContext()
        add_time(self.unet, self.clip, settings)

    @property
    def input_weight(self) -> nn.Parameter:
        """Spatial kernel of the first convolution."""
        return self.get_parameter("unet.conv_in.spatial.weight")

    def training_sigmas(self) -> Tensor:
        """Return the noise levels of the source's training."""
        return self.timestep.sigmas()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the parts of the temporal layers and the embeddings of frame rate and frame time."""
        yield from super().temporal_parts()
        yield from (part for part in (self.fps_embedding, self.time_proj) if part is not None)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """Return the weights of the low-rank adapters, by name."""
        return {name: one for name, one in self.named_parameters() if ".lora_" in name}

    def source_names(self) -> dict[str, str]:
        """Return the name of each weight of the image network here → its name in the source."""
        new = self.temporal_names() | self.adapter_parameters().keys()
        names = (name for name in self.state_dict() if name.startswith("unet.") and name not in new)
        return {name: name.removeprefix("unet.").replace(".spatial.", ".") for name in names}

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run the network.

        Args:
            x: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W); H and W multiples of `downsampling`.
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Image embeddings, shape (B, D), or captions, shape (B, L, D). Zeros mean "no condition".
            fps: Frame rate of each clip in frames per second, shape (B,). Required for clips, ignored for images.

        Returns:
            The output, shape of `x` with `out_channels` channels.

        Raises:
            ValueError: If the shape of `x` or `cond` is not supported, or clips come without `fps`.
        """
        frames = self.check_input(x, fps)
        if cond.ndim != 2 and not (cond.ndim == 3 and self.conditioning.text):
            raise ValueError(f"GrownUNet: conditions must have the shape (B, D), got {tuple(cond.shape)}.")
        emb, arguments = self.conditioning(cond * self.cond_norm if cond.shape[1:] == (self.cond_channels,) else cond)
        timestep, time = self.timestep(noise), None
        if frames is not None and fps is not None:
            time = self.frame_time(frames, fps)
            emb = self._frame_embedding(emb, time, fps)
            x = rearrange(x, "b c t h w -> (b t) c h w")
            timestep = timestep.repeat_interleave(frames)
            arguments = {name: value.repeat_interleave(frames, 0) for name, value in arguments.items()}
        with self.clip.running(time, emb):
            out: Tensor = self.unet(x, timestep, **arguments, return_dict=False)[0]
        return out if frames is None else rearrange(out, "(b t) c h w -> b c t h w", t=frames)

    def _frame_embedding(self, emb: Tensor | None, time: Tensor, fps: Tensor) -> Tensor | None:
        """Return what is added to the embedding of the noise level of each frame, shape (B·T, E)."""
        if self.fps_embedding is not None:
            of_fps = self.fps_embedding(fps.float().log())
            emb = of_fps if emb is None else emb + of_fps
        frames = None if emb is None else repeat(emb, "b d -> (b t) d", t=time.shape[1])
        if self.time_proj is None:
            return frames
        of_time: Tensor = self.time_proj(time).flatten(0, 1)
        return of_time if frames is None else frames + of_time


def _conditioning(
    config: Any,
    emb: int,
    text_proj: Mapping[str, Any] | None,
    noising: NoiseSchedule | None,
    channels: int | None,
    tokens: int,
) -> NetworkConditioning:
    """Build the conditioning that the image network was trained with."""
    embedded, context = config.get("class_embed_type"), config.get("cross_attention_dim") or 0
    if (embedded == "identity") != (text_proj is not None):
        raise UserError(
            "is needed by networks with class_embed_type=identity, such as the unCLIP decoder, and by no other.",
            argument="text_proj",
        )
    if isinstance(context, list | tuple):
        raise UserError("`cross_attention_dim` must be one number for all levels.", argument="config")
    found: NetworkConditioning
    if text_proj is not None:
        found = UnclipConditioning(text_proj, tokens)
    elif embedded == "projection":
        found = ProjectedConditioning(config["projection_class_embeddings_input_dim"] // 2, tokens, context, noising)
    else:
        found = AddedConditioning(channels or 768, emb, tokens, context)
    if channels not in (None, found.channels):
        raise UserError(f"must be {found.channels}, which the source reads, got {channels}.", argument="cond_channels")
    return found
