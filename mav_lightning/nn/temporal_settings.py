"""What is temporal about a U-Net: the settings that its layers share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mav_lightning.common.errors import UserError
from mav_lightning.nn.time_position import TimePosition

__all__ = ["Placement", "TemporalSettings"]

Placement = Literal["after", "before", "parallel"]


@dataclass(frozen=True)
class TemporalSettings:
    """Settings of the temporal layers of one network.

    Attributes:
        kernel_size: Temporal kernel size in frames, odd. 0 or 1 disables temporal convolution.
        factorized: If False, use full 3D convolutions.
        placement: Order of temporal and spatial layers: the temporal one ``after`` the spatial one, ``before`` it, or
            in ``parallel``, both reading the same input.
        causal: If True, no frame depends on a later one.
        window: Height and width of the windows in which the tokens of all frames attend to each other. 1 for attention
            along time only.
        position: How temporal attention distinguishes frames.
        identity_init: If True, temporal layers start as the identity.
    """

    kernel_size: int = 3
    factorized: bool = True
    placement: Placement = "after"
    causal: bool = False
    window: int = 1
    position: TimePosition = "absolute"
    identity_init: bool = True

    @property
    def convolution(self) -> bool:
        """Whether there is temporal convolution."""
        return self.kernel_size > 1

    def check(self, attention: bool, everywhere: bool, spatial_levels: Sequence[int], further: bool) -> None:
        """Reject settings of a network that would have no effect.

        Args:
            attention: Whether the network has temporal attention.
            everywhere: Whether it is at the levels without spatial attention as well.
            spatial_levels: Levels with spatial attention.
            further: Whether anything else in the network is temporal.

        Raises:
            UserError: If a setting has no effect.
        """
        ordered = attention and len(spatial_levels) > 0 or self.convolution and self.factorized
        needs = (
            ("temporal_attention_everywhere", everywhere, attention, " without `temporal_attention`"),
            (
                "temporal_attention",
                attention,
                len(spatial_levels) > 0 or everywhere,
                ", as `attention` lists no level; list some, or set `temporal_attention_everywhere`",
            ),
            ("factorized", not self.factorized, self.convolution, " without a temporal_kernel_size above 1"),
            (
                "temporal_placement",
                self.placement != "after",
                ordered,
                " without a temporal layer that follows a spatial one",
            ),
            (
                "temporal_causal",
                self.causal,
                attention or self.convolution,
                " without temporal convolution and attention",
            ),
            ("temporal_attention_window", self.window > 1, attention, " without `temporal_attention`"),
            ("temporal_position", self.position != "absolute", attention, " without `temporal_attention`"),
            (
                "identity_init",
                not self.identity_init,
                attention or self.convolution or further,
                ", as nothing in the network is temporal",
            ),
        )
        for argument, used, effective, reason in needs:
            if used and not effective:
                raise UserError(f"has no effect{reason}.", argument=argument)
