"""Which image networks of diffusers can be extended by time."""

from collections.abc import Mapping
from typing import Any, Literal

from mav_lightning.common.diffusers_library import diffusers_class, known_arguments
from mav_lightning.common.errors import UserError

__all__ = ["ImageNetwork", "build_unet", "check_unet_config"]

ImageNetwork = Literal["UNet2DModel", "UNet2DConditionModel"]
_MODULES = {
    "UNet2DModel": "diffusers.models.unets.unet_2d",
    "UNet2DConditionModel": "diffusers.models.unets.unet_2d_condition",
}
_BLOCKS = frozenset({
    "DownBlock2D", "UpBlock2D", "AttnDownBlock2D", "AttnUpBlock2D", "CrossAttnDownBlock2D", "CrossAttnUpBlock2D",
    "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D",
    "UNetMidBlock2D", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", None,
})  # fmt: skip
# Key of a config → the values that are supported; all other keys may have any value that diffusers accepts.
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "time_embedding_type": ("positional",),
    "class_embed_type": (None, "identity", "projection"),
    "num_class_embeds": (None,),
    "addition_embed_type": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "attention_type": ("default",),
    "dual_cross_attention": (False,),
    "class_embeddings_concat": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
}


def check_unet_config(kind: str, config: Mapping[str, Any]) -> None:
    """Check that temporal layers can be added to an image network of diffusers, given its config.

    Args:
        kind: Class of the network.
        config: Arguments of that class; keys that begin with an underscore are ignored.

    Raises:
        UserError: If diffusers is not installed, or a key or a value is not supported.
    """
    known_arguments(diffusers_class(_MODULES[kind], kind), config)
    for key, value in config.items():
        if key in _SUPPORTED and value not in _SUPPORTED[key]:
            supported = ", ".join(repr(one) for one in _SUPPORTED[key])
            raise UserError(f"`{key}` is {value!r}; supported are {supported}.", argument="config")
    blocks = [config.get("mid_block_type"), *config.get("down_block_types", ()), *config.get("up_block_types", ())]
    if wrong := [block for block in blocks if block not in _BLOCKS]:
        raise UserError(
            f"blocks of type {wrong[0]!r} are not supported; supported are {', '.join(sorted(filter(None, _BLOCKS)))}.",
            argument="config",
        )


def build_unet(kind: str, config: Mapping[str, Any]) -> Any:
    """Build an image network of diffusers from a config that `check_unet_config` accepts."""
    found = diffusers_class(_MODULES[kind], kind)
    return found(**known_arguments(found, config))
