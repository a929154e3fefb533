"""How a cascade draws its clips."""

from dataclasses import dataclass

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.interpolation_baselines import INTERPOLATIONS
from mav_lightning.diffusion.samplers import SAMPLERS
from mav_lightning.diffusion.windows import Windows

__all__ = ["Sampling"]


@dataclass(frozen=True)
class Sampling:
    """How clips are drawn.

    Attributes:
        size: Side of the frames, in pixels.
        frames: Frames the decoder draws, and of a window of interpolation.
        skip: Frame skip of interpolation: so many times as many frames per second. 1 leaves interpolation out.
        interpolation: What fills the frames between: ``network``, or, to compare it with, ``linear`` blending of
            neighbours or ``repeat``, which holds every frame until the next.
        low_factor: How much spatiotemporal super-resolution enlarges; 1 leaves it out.
        high_factor: How much spatial super-resolution enlarges what it is given; 1 leaves it out.
        augmentation: Standard deviation of the noise on the small pictures, above 0.
        shared_noise: Whether spatial super-resolution, which sees frames one by one, draws one noise for all frames of
            a clip (§3.2) or for each its own.
        chunk: Frames that spatial super-resolution works on at once; it bounds memory and changes nothing else.
        sampler: ``dpm++2m``, ``ddim``, ``heun`` or ``ddpm``, which adds noise on the way.
        steps: Of the sampler; each is one denoiser evaluation, with ``heun`` two.
        guidance_scale: Of the decoder; 1 for none. Interpolation takes none: known frames tell it what to draw, and
            guidance made it overshoot between them (docs/results/tiny.md).
        sigma_max: Noise level to start from.
        batch_size: Clips that the decoder computes together. Batches are always filled up to it, so that a clip is the
            same bits alone and in company; the later stages take clips one by one.

    Raises:
        UserError: A setting that cannot work, with those that can.
    """

    size: int
    frames: int
    skip: int = 1
    interpolation: str = "network"
    low_factor: int = 1
    high_factor: int = 1
    augmentation: float = 0.1
    shared_noise: bool = True
    chunk: int = 8
    sampler: str = "dpm++2m"
    steps: int = 16
    guidance_scale: float = 1.0
    sigma_max: float = 80.0
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler `{self.sampler}`: unknown; known are {', '.join(SAMPLERS)}.")
        if self.interpolation != "network" and self.interpolation not in INTERPOLATIONS:
            known = ", ".join(("network", *INTERPOLATIONS))
            raise UserError(f"interpolation `{self.interpolation}`: unknown; known are {known}.")
        if self.steps < 2 or self.batch_size < 1:
            raise UserError(f"sampling needs steps ≥ 2 and batch_size ≥ 1, got {self.steps} and {self.batch_size}.")
        if min(self.low_factor, self.high_factor, self.chunk) < 1 or self.augmentation <= 0:
            raise UserError(
                "super-resolution needs factors and chunk ≥ 1 and augmentation > 0, got "
                f"{self.low_factor}, {self.high_factor}, {self.chunk} and {self.augmentation:g}."
            )
        if self.skip > 1:
            try:
                self.windows.count(self.frames)
            except ValueError as error:
                raise UserError(f"skip: {error}") from error

    @property
    def windows(self) -> Windows:
        """How interpolation covers the decoder's clip."""
        return Windows(self.frames, self.skip)
