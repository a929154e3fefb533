"""Video networks of diffusers as they are: AnimateDiff's and ModelScope's, for comparison and fine-tuning."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from einops import rearrange
from torch import Tensor, nn

from mav_lightning.common.arguments import checked
from mav_lightning.common.diffusers_library import diffusers_class, known_arguments
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt
from mav_lightning.nn.base import SpaceTimeNetwork
from mav_lightning.pretrained.grown_conditioning import AddedConditioning
from mav_lightning.pretrained.grown_layers import ClipContext, GrownEmbedding
from mav_lightning.pretrained.timesteps import NoiseSchedule, TimestepOfNoise

__all__ = ["VIDEO_MODULES", "VideoKind", "VideoNetwork"]

VideoKind = Literal["UNetMotionModel", "UNet3DConditionModel"]
VIDEO_MODULES: dict[VideoKind, str] = {
    "UNetMotionModel": "diffusers.models.unets.unet_motion_model",
    "UNet3DConditionModel": "diffusers.models.unets.unet_3d_condition",
}


class VideoNetwork(SpaceTimeNetwork):
    """AnimateDiff's ``UNetMotionModel`` or ModelScope's ``UNet3DConditionModel``, unchanged.

    Neither is conditioned on the frame rate: AnimateDiff's motion module embeds the index of a frame, and ModelScope's
    layers nothing; `fps` is ignored. Both read captions of their own text encoder, (B, L, D). Image embeddings (B, D)
    are added to the embedding of the noise level by a projection that starts at zero. An image is a clip of one frame.

    References:
        AnimateDiff (Guo et al., 2023). https://arxiv.org/abs/2307.04725
        ModelScope text-to-video (Wang et al., 2023). https://arxiv.org/abs/2308.06571

    Args:
        kind: Class of the network in diffusers.
        config: Arguments of that class.
        schedule: Noise schedule of the source's training.
        cond_channels: Length of the image embedding.
        text_tokens: Tokens of a caption.

    Raises:
        UserError: If diffusers is not installed, or an argument is unknown or not supported.
    """

    @checked
    def __init__(
        self,
        kind: VideoKind,
        config: Mapping[str, Any],
        schedule: NoiseSchedule,
        cond_channels: PositiveInt = 768,
        text_tokens: PositiveInt = 77,
    ) -> None:
        super().__init__()
        found = diffusers_class(VIDEO_MODULES[kind], kind)
        self.kind, self.unet = kind, found(**known_arguments(found, config))
        context = self.unet.config.cross_attention_dim
        if not isinstance(context, int):
            raise UserError("`cross_attention_dim` must be one number for all levels.", argument="config")
        self.in_channels, self.out_channels = self.unet.config.in_channels, self.unet.config.out_channels
        self.downsampling = 2 ** (len(self.unet.config.block_out_channels) - 1)
        self.cond_channels, self.longest = cond_channels, getattr(self.unet.config, "motion_max_seq_length", None)
        self.timestep, self.clip = TimestepOfNoise(schedule), ClipContext()
        emb = self.unet.time_embedding.linear_2.out_features
        self.conditioning = AddedConditioning(cond_channels, emb, text_tokens, context)
        self.unet.time_embedding = GrownEmbedding(self.unet.time_embedding, self.clip)

    @property
    def input_weight(self) -> nn.Parameter:
        """Kernel of the first convolution."""
        return self.get_parameter("unet.conv_in.weight")

    def training_sigmas(self) -> Tensor:
        """Return the noise levels of the source's training."""
        return self.timestep.sigmas()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield AnimateDiff's motion modules, or ModelScope's temporal convolutions and temporal transformers."""
        names = {
            "AnimateDiffTransformer3D": VIDEO_MODULES["UNetMotionModel"],
            "TemporalConvLayer": "diffusers.models.resnet",
            "TransformerTemporalModel": "diffusers.models.transformers.transformer_temporal",
        }
        kinds = tuple(diffusers_class(module, name) for name, module in names.items())
        yield from (module for module in self.unet.modules() if isinstance(module, kinds))

    def source_names(self) -> dict[str, str]:
        """Return the name of each of the source's weights here → its name there."""
        names = (name for name in self.state_dict() if name.startswith("unet."))
        return {
            name: name.removeprefix("unet.").replace("time_embedding.spatial.", "time_embedding.") for name in names
        }

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run the network.

        Args:
            x: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W); H and W multiples of `downsampling`.
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Image embeddings, shape (B, D), or captions, shape (B, L, D). Zeros mean "no condition".
            fps: Ignored.

        Returns:
            The output, shape of `x` with `out_channels` channels.

        Raises:
            ValueError: If a clip is longer than the network's embedding of frames.
        """
        clips = x if x.ndim == 5 else rearrange(x, "b c h w -> b c 1 h w")
        frames = clips.shape[2]
        if self.longest is not None and frames > self.longest:
            raise ValueError(f"VideoNetwork: the source embeds up to {self.longest} frames, got {frames}.")
        emb, arguments = self.conditioning(cond)
        if self.kind == "UNetMotionModel":  # its pipeline repeats captions for every frame, the other network itself
            arguments = {name: value.repeat_interleave(frames, 0) for name, value in arguments.items()}
        with self.clip.running(None, emb):
            out: Tensor = self.unet(clips, self.timestep(noise), **arguments, return_dict=False)[0]
        return out if x.ndim == 5 else out.squeeze(2)
