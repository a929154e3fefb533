"""The stages of the cascade as tensors in, tensors out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.conditioning import augment_conditioning, upsample
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import Denoiser, space_time_network
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.interpolation_baselines import INTERPOLATIONS
from mav_lightning.diffusion.masks import MaskedDenoiser, MaskedFrames
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.diffusion.samplers import SAMPLERS
from mav_lightning.diffusion.windows import SlidingDenoiser

__all__ = ["OPTIONAL", "ROLES", "Stages"]

ROLES = ("clip", "prior", "decoder")
# Role → the stage config that trains it, and the option of `mav pipeline` that takes it.
OPTIONAL = {
    "interpolator": ("stage/interpolator_tiny.yaml", "--interpolator"),
    "sr_low": ("stage/sr_low_tiny.yaml", "--sr-low"),
    "sr_high": ("stage/sr_high_tiny.yaml", "--sr-high"),
}
_STREAMS = {"decoder": 0, "interpolator": 2, "sr_low": 3, "sr_high": 4}  # of a seed's noise; 1 is the prior's


class Stages:
    """What comes after the prior: ``embedding → decoder → interpolation → super-resolution, twice``.

    Clips are (B, 3, T, H, W) in [-1, 1]; `fps` is (B,), frames per second of what a stage puts out; clip *i* draws
    from ``seeds[i]`` alone.

    Args:
        networks: Role → denoiser.
        sampling: How clips are drawn.

    Raises:
        UserError: The settings ask for a stage whose network is missing.
    """

    def __init__(self, networks: Mapping[str, nn.Module], sampling: Sampling) -> None:
        self.networks, self.sampling = networks, sampling
        for role, setting in (("interpolator", "skip"), ("sr_low", "low_factor"), ("sr_high", "high_factor")):
            if getattr(sampling, setting) > 1 and (setting != "skip" or sampling.interpolation == "network"):
                self.network(role, f"{setting}={getattr(sampling, setting)}")

    def decode(self, cond: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        """Draws clips from image embeddings (B, D): Dᵗ."""
        s = self.sampling
        guided = Guided(self.networks["decoder"], s.guidance_scale)
        draw = SeededNoise(seeds, (3, s.frames, s.size, s.size), cond.device, _STREAMS["decoder"])
        return self._sample(guided, draw, cond, fps)

    def interpolate(self, clips: Tensor, cond: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        """Makes `skip` steps of each: ↑F. Frame `skip` · n is frame n, unchanged; `fps` is that of the result."""
        if self.sampling.interpolation != "network":
            return INTERPOLATIONS[self.sampling.interpolation](clips, self.sampling.skip)
        windows = self.sampling.windows
        known = windows.split(clips)
        count = len(known.mask) // len(clips)
        filled = self.fill(known, cond.repeat_interleave(count, dim=0), fps.repeat_interleave(count), seeds)
        return windows.join(filled, len(clips))

    def fill(
        self, known: MaskedFrames, cond: Tensor, fps: Tensor, seeds: Sequence[int], use: str = "interpolate"
    ) -> Tensor:
        """The unknown frames of clips, one or several windows for each seed; `use` names the wish in errors."""
        network = self.network("interpolator", use)
        shape = (len(known.pixels) // len(seeds), *known.pixels.shape[1:])
        noise = SeededNoise(seeds, shape, cond.device, _STREAMS["interpolator"])
        return self._sample(MaskedDenoiser(network, known), lambda: noise().flatten(0, 1), cond, fps)

    def sharpen_clip(self, clips: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        """Enlarges clips as a whole, in sliding windows of frames: SRₗᵗ."""
        frames = self.sampling.frames
        sliding = SlidingDenoiser(self.network("sr_low", "low_factor"), frames, overlap=frames // 2)
        return self._sharpen(sliding, upsample(clips, self.sampling.low_factor), fps, seeds, "sr_low", shared=False)

    def sharpen_frames(self, clips: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        """Enlarges frame by frame, with the same noise in every frame: SRₕ."""
        s, network = self.sampling, self.network("sr_high", "high_factor")
        large = upsample(clips, s.high_factor)
        if not s.shared_noise:
            return self._sharpen(network, large, fps, seeds, "sr_high", shared=False)
        # every chunk draws the clip's noise from its beginning, so it is the same, and the chunks make no difference
        chunks = [self._sharpen(network, part, fps, seeds, "sr_high", shared=True) for part in large.split(s.chunk, 2)]
        return torch.cat(chunks, dim=2)

    def _sharpen(
        self, denoiser: Denoiser, large: Tensor, fps: Tensor, seeds: Sequence[int], role: str, shared: bool
    ) -> Tensor:
        b, channels, frames, height, width = large.shape
        shape = (channels, 1 if shared else frames, height, width)
        noise = SeededNoise(seeds, shape, large.device, _STREAMS[role])

        def draw() -> Tensor:
            return noise().expand(-1, -1, frames, -1, -1)

        given = augment_conditioning(large, large.new_full((b,), self.sampling.augmentation), draw())
        cond = large.new_zeros(b, space_time_network(self.networks[role]).cond_channels)
        return self._sample(lambda x, sigma, cond, fps: denoiser(x, sigma, cond, fps, given), draw, cond, fps)

    def _sample(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Denoised],
        draw: Callable[[], Tensor],
        cond: Tensor,
        fps: Tensor,
    ) -> Tensor:
        sigmas = karras_sigmas(self.sampling.steps, sigma_max=self.sampling.sigma_max)
        return SAMPLERS[self.sampling.sampler](lambda x, sigma: denoiser(x, sigma, cond, fps), draw, sigmas)

    def network(self, role: str, wish: str) -> nn.Module:
        """The network of a role, or a `UserError` that says how to get one; `wish` says who asks."""
        if role not in self.networks:
            config, option = OPTIONAL[role]
            raise UserError(
                f"{wish}: this pipeline has no network `{role}`; train one with {config} and give it to "
                f"`mav pipeline {option}`."
            )
        return self.networks[role]
