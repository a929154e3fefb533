"""Two networks as one: the second denoises the last step alone, as in Karlo's super-resolution."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.nn.base import SpaceTimeNetwork
from mav_lightning.pretrained.grown_unet import GrownUNet

__all__ = ["LastStepExpert"]


class LastStepExpert(SpaceTimeNetwork):
    """A network for all noise levels but the lowest, and another one for that.

    References:
        eDiff-I (Balaji et al., 2022), §4: experts for ranges of noise levels. https://arxiv.org/abs/2211.01324

    Args:
        first: Network for all noise levels but the lowest of its training.
        last: Network for the lowest.

    Raises:
        UserError: If the two differ in channels.
    """

    def __init__(self, first: GrownUNet, last: GrownUNet) -> None:
        super().__init__()
        for name in ("in_channels", "out_channels", "cond_channels", "downsampling"):
            expected, found = getattr(first, name), getattr(last, name)
            if found != expected:
                raise UserError(f"must have {name}={expected}, as `first`, got {found}.", argument="last")
            setattr(self, name, expected)
        self.first, self.last = first, last

    @property
    def input_weight(self) -> nn.Parameter:
        """Spatial kernel of the first convolution of `first`."""
        return self.first.input_weight

    def training_sigmas(self) -> Tensor:
        """Return the noise levels of the training of `first`."""
        return self.first.training_sigmas()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the parts of both networks that images skip."""
        yield from self.first.temporal_parts()
        yield from self.last.temporal_parts()

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run, for each sample, the network of its noise level, with the arguments of `GrownUNet.forward`."""
        lowest = self.first.timestep(noise) < 0.5
        outs = [
            net(x[rows], noise[rows], cond[rows], None if fps is None else fps[rows])
            for net, rows in ((self.first, ~lowest), (self.last, lowest))
            if bool(rows.any())
        ]
        places = lowest.int().argsort(stable=True).argsort()  # of each sample among those outputs
        return torch.cat(outs)[places]
