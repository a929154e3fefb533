"""Settings of the sampling chain."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, get_args

from annotated_types import Ge, Gt, Le

from mav_lightning.cascade.roles import Role
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, PositiveFloat
from mav_lightning.common.units import memory, parse_memory
from mav_lightning.diffusion.frame_skip import check_skip

if TYPE_CHECKING:
    from mav_lightning.diffusion.windows import Windows

# Light on purpose: the command line checks settings before it imports torch.
__all__ = [
    "Count", "Factor", "GuidanceScale", "Interpolation", "NoiseLevels", "SamplerName", "Sampling", "Solver", "Steps",
    "Upsampling",
]  # fmt: skip

Interpolation = Literal["network", "linear", "repeat"]
Upsampling = Literal["bilinear", "bicubic"]
NoiseLevels = Literal["karras", "trained"]
_MOST_BYTES = 2**34  # of one float32 tensor: 16 GiB
Count = Annotated[int, Ge(1), Le(4096)]
Factor = Annotated[int, Ge(1), Le(16)]
Batch = Annotated[int, Ge(1), Le(1024)]
SamplerName = Literal["dpm++2m", "ddim", "euler", "heun", "ddpm"]
Steps = Annotated[int, Ge(2), Le(10_000)]
GuidanceScale = Annotated[float, Ge(0), Le(1000)]


class Solver(NamedTuple):
    """How one network of the cascade is sampled.

    Attributes:
        sampler: Name of the sampler, or the dotted name of its class.
        steps: Sampler steps.
    """

    sampler: str
    steps: int


@dataclass(frozen=True)
class Sampling:
    """Settings of the sampling chain.

    Attributes:
        size: Side of the decoder's frames in pixels.
        frames: Frames of the decoder's clips and of the windows of the interpolator and of `sr_low`.
        skip: Frame skip of interpolation (§3.3), by which the frame rate is multiplied. 1 disables interpolation.
        interpolation: How frames are inserted: ``network`` uses the interpolator; ``linear`` blends neighboring frames
            and ``repeat`` repeats each frame, as baselines.
        low_factor: Upsampling factor of spatiotemporal super-resolution. 1 disables it.
        high_factor: Upsampling factor of spatial super-resolution. 1 disables it.
        augmentation: Standard deviation of the noise added to the low-resolution input of those networks of
            super-resolution that read its level (noise conditioning augmentation). 0 if none does.
        upsampling: How super-resolution upsamples its input: ``bilinear``, or ``bicubic`` with antialiasing.
        shared_noise: Whether spatial super-resolution uses the same noise in every frame of a clip (§3.2). If False,
            each frame has its own.
        chunk: Frames that spatial super-resolution computes at once, which bounds memory. The output does not depend on
            it. It has no effect if `shared_noise` is False: all frames are then computed at once.
        sampler: Sampler of the decoder: ``dpm++2m``, ``ddim``, ``euler``, ``heun``, ``ddpm``, or the dotted name of a
            class in a package of the user's own; see `find_sampler`.
        steps: Sampler steps of the decoder. Each is one denoiser evaluation, two with ``heun``.
        interpolator_sampler: Sampler of interpolation. None for `sampler`.
        interpolator_steps: Sampler steps of interpolation. None for `steps`.
        sr_sampler: Sampler of super-resolution. None for `sampler`.
        sr_steps: Sampler steps of super-resolution. None for `steps`.
        noise_levels: Where noise levels come from: ``karras`` spaces them from `sigma_max` down, and ``trained`` takes
            evenly spaced ones of the discrete levels that a network was trained on, and spaces those of networks
            without discrete levels as ``karras`` does.
        clip_range: Largest absolute value of the pixels of an x0 estimate; larger ones are clipped at every step. None
            for no limit.
        guidance_scale: Classifier-free guidance scale of the decoder; 1 disables guidance. Interpolation uses none:
            with guidance it overshot between known frames (docs/results/tiny.md).
        sigma_max: Noise level at which sampling starts; above 0.02, the last noise level before 0.
        batch_size: Clips that the decoder samples at once. Batches are padded to this size, so that a clip is
            bit-identical alone and in a batch.
        interpolator_batch: Clips that the interpolator samples at once, at most `batch_size`, padded in the same way.
            Loops are always closed clip by clip.
        sr_batch: Clips that super-resolution samples at once, at most `batch_size`, padded in the same way; loops are
            always super-resolved clip by clip. More than 1 gains little on a CPU (docs/cascade.md).
        memory: Memory budget as text, for example ``8 GiB``, from which `Pipeline` chooses the three batch sizes
            instead; see `mav_lightning.cascade.memory_budget`. None for the given batch sizes.
        output_size: Side in pixels to which the finished frames are reduced, bicubically with antialiasing, as the
            paper shows 768 pixels at 512 (§4.1). None keeps the size of the last network.

    Raises:
        UserError: If a value is out of range, settings exclude each other, a setting has no effect, or a clip would not
            fit into 16 GiB.
    """

    size: Count
    frames: Count
    skip: Count = 1
    interpolation: Interpolation = "network"
    low_factor: Factor = 1
    high_factor: Factor = 1
    augmentation: NonNegativeFloat = 0.1
    upsampling: Upsampling = "bilinear"
    shared_noise: bool = True
    chunk: Count = 8
    sampler: str = "dpm++2m"
    steps: Steps = 16
    interpolator_sampler: str | None = None
    interpolator_steps: Steps | None = None
    sr_sampler: str | None = None
    sr_steps: Steps | None = None
    noise_levels: NoiseLevels = "karras"
    clip_range: PositiveFloat | None = None
    guidance_scale: GuidanceScale = 1.0
    sigma_max: Annotated[float, Gt(0.02), Le(1e6)] = 80.0
    batch_size: Batch = 8
    interpolator_batch: Batch = 1
    sr_batch: Batch = 1
    memory: str | None = None
    output_size: Count | None = None

    def __post_init__(self) -> None:
        """Check the values and their combination."""
        check_fields(self)
        for name in ("sampler", "interpolator_sampler", "sr_sampler"):
            if (sampler := getattr(self, name)) is not None and sampler not in get_args(SamplerName):
                from mav_lightning.diffusion.samplers import find_sampler

                find_sampler(sampler, name)
        if self.skip > 1:
            try:
                check_skip(self.skip, self.frames)
            except ValueError as error:
                raise UserError(str(error), argument="skip") from error
        self._check_effects()
        for name in ("interpolator_batch", "sr_batch"):
            if (clips := getattr(self, name)) > self.batch_size:
                raise UserError(f"must be at most batch_size={self.batch_size}, got {clips}.", argument=name)
        if self.memory is not None:
            parse_memory(self.memory, "memory")
        self._check_memory()

    def _check_effects(self) -> None:
        """Raise an error for settings of networks that are disabled."""
        if self.interpolation != "network" and self.skip == 1:
            raise UserError(f"`{self.interpolation}` has no effect with skip=1.", argument="interpolation")
        if not self.shared_noise and self.high_factor == 1:
            raise UserError("False has no effect with high_factor=1.", argument="shared_noise")
        for name in ("interpolator_sampler", "interpolator_steps"):
            if (value := getattr(self, name)) is not None and self.skip == 1:
                raise UserError(f"{value} has no effect with skip=1.", argument=name)
        for name in ("augmentation", "upsampling", "sr_sampler", "sr_steps", "sr_batch"):
            value = getattr(self, name)
            if value != getattr(Sampling, name) and self.low_factor == self.high_factor == 1:
                shown = f"{value:g}" if isinstance(value, float) else f"{value}"
                raise UserError(f"{shown} has no effect with low_factor=1 and high_factor=1.", argument=name)
        if self.output_size is not None and self.output_size >= self.largest:
            raise UserError(
                f"frames can only be reduced in size: must be below the {self.largest} pixels of the last network, got "
                f"{self.output_size}.",
                argument="output_size",
            )

    def _check_memory(self) -> None:
        """Raise an error for clips or batches that are larger than 16 GiB as float32."""
        clip = self.output_frames * self.largest**2
        batch = self.batch_size * self.frames * self.size**2
        for name, pixels in (("one clip", clip), ("one batch of the decoder", batch)):
            if (size := 4 * 3 * pixels) > _MOST_BYTES:
                raise UserError(
                    f"{name} has {memory(size)} of pixels as float32, at most {memory(_MOST_BYTES)} are "
                    "accepted; reduce size, frames, skip, factors or batch_size."
                )

    @property
    def largest(self) -> int:
        """Side of the last network's frames in pixels."""
        return self.size * self.low_factor * self.high_factor

    def solver(self, role: Role) -> Solver:
        """Return how the denoiser in a role is sampled."""
        sampler: str | None = None
        steps: int | None = None
        if role == "interpolator":
            sampler, steps = self.interpolator_sampler, self.interpolator_steps
        elif role in ("sr_low", "sr_high"):
            sampler, steps = self.sr_sampler, self.sr_steps
        return Solver(self.sampler if sampler is None else sampler, self.steps if steps is None else steps)

    @property
    def output_frames(self) -> int:
        """Number of frames of a clip after interpolation."""
        return (self.frames - 1) * self.skip + 1

    @property
    def windows(self) -> "Windows":
        """Windows of the interpolator over the decoder's clip."""
        from mav_lightning.diffusion.windows import Windows

        return Windows(self.frames, self.skip)
