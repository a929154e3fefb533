"""Sampling from each denoiser of the cascade: tensors in, tensors out.

Clips have shape (B, 3, T, H, W) and values in [-1, 1]. `fps` has shape (B,): the frame rate of the clip that a function
returns, in frames per second. Each clip depends on its own seed only. `on_step` is called at every sampler step, to
show progress.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor

from mav_lightning.cascade.roles import Role
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.conditioning import augment_conditioning, upsample
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import Denoiser, NetDenoiser, space_time_network
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.masks import MaskedDenoiser, MaskedFrames
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas, trained_sigmas
from mav_lightning.diffusion.samplers import find_sampler
from mav_lightning.diffusion.windows import SlidingDenoiser
from mav_lightning.nn.base import ImageAutoencoder

__all__ = [
    "Step",
    "no_step",
    "noise_levels",
    "fill_frames",
    "interpolate_clips",
    "reads_noise_level",
    "sample_decoder",
    "super_resolve_clips",
    "super_resolve_frames",
]

Step = Callable[[], object]

# Independent noise streams of one seed. Stream 1 is the prior's.
_DECODER, _INTERPOLATOR, _SR_LOW, _SR_HIGH = 0, 2, 3, 4


def no_step() -> None:
    """Do nothing: the progress callback of callers that show none."""


def sample_decoder(
    decoder: NetDenoiser,
    cond: Tensor,
    fps: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: Step = no_step,
    vae: ImageAutoencoder | None = None,
) -> Tensor:
    """Sample low-resolution clips from image embeddings with the decoder Dᵗ (§3.2).

    Args:
        decoder: Denoiser of clips or images.
        cond: Image embeddings, shape (B, D), or with captions, shape (B, 2 + L, D), if the network reads them.
        fps: Frame rates, shape (B,).
        seeds: One seed per clip.
        sampling: Sampler settings. Guidance applies to the decoder only.
        on_step: Called at every sampler step, to show progress.
        vae: Autoencoder of the latents that the decoder samples; frames are decoded individually to bound memory. None
            for a decoder of pixels.

    Returns:
        Clips, shape (B, 3, frames, size, size).
    """
    channels, side = (3, sampling.size) if vae is None else (vae.channels, sampling.size // vae.factor)
    shape = (channels, sampling.frames, side, side)
    noise = SeededNoise(seeds, shape, cond.device, _DECODER, decoder.frame_correlation)
    guided = Guided(decoder, sampling.guidance_scale)
    clips = _sample("decoder", decoder, guided, noise, cond, fps, sampling, on_step)
    return clips if vae is None else _decoded(vae, clips)


def _decoded(vae: ImageAutoencoder, latents: Tensor) -> Tensor:
    """Decode latents (B, C, T, H, W) frame by frame."""
    clips = (torch.stack([vae.decode(frame[None])[0] for frame in clip.unbind(1)], dim=1) for clip in latents)
    return torch.stack(list(clips))


def interpolate_clips(
    interpolator: NetDenoiser,
    clips: Tensor,
    cond: Tensor,
    fps: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: Step = no_step,
) -> Tensor:
    """Insert `Sampling.skip` - 1 frames between neighboring frames with the interpolator ↑F (§3.3).

    Args:
        interpolator: Denoiser with four conditioning channels.
        clips: Low-frame-rate clips, shape (B, 3, T, H, W).
        cond: Image embeddings, shape (B, D).
        fps: Frame rates of the output, shape (B,).
        seeds: One seed per clip.
        sampling: Sampler settings.
        on_step: Called at every sampler step, to show progress.

    Returns:
        Clips with (T - 1) · skip + 1 frames. Frame n · skip is frame n of the input, unchanged.
    """
    windows = sampling.windows
    known = windows.split(clips)
    count = len(known.mask) // len(clips)
    cond, fps = repeat(cond, "b d -> (b n) d", n=count), repeat(fps, "b -> (b n)", n=count)
    return windows.join(fill_frames(interpolator, known, cond, fps, seeds, sampling, on_step), len(clips))


def fill_frames(
    interpolator: NetDenoiser,
    known: MaskedFrames,
    cond: Tensor,
    fps: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: Step = no_step,
) -> Tensor:
    """Sample the unknown frames of clips with the interpolator ↑F (§3.3).

    Args:
        interpolator: Denoiser with four conditioning channels.
        known: Conditioning frames of B · n windows, n windows per clip.
        cond: Image embedding of each window, shape (B · n, D).
        fps: Frame rate of each window, shape (B · n,).
        seeds: One seed per clip.
        sampling: Sampler settings.
        on_step: Called at every sampler step, to show progress.

    Returns:
        The windows, shape (B · n, 3, T, H, W). Known frames are unchanged.
    """
    shape = (len(known.pixels) // len(seeds), *known.pixels.shape[1:])
    noise = SeededNoise(seeds, shape, cond.device, _INTERPOLATOR, interpolator.frame_correlation)
    draw = lambda: rearrange(noise(), "b n c t h w -> (b n) c t h w")  # noqa: E731
    masked = MaskedDenoiser(interpolator, known)
    return _sample("interpolator", interpolator, masked, draw, cond, fps, sampling, on_step)


def super_resolve_clips(
    sr_low: NetDenoiser,
    clips: Tensor,
    fps: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: Step = no_step,
    cond: Tensor | None = None,
) -> Tensor:
    """Upsample clips by `Sampling.low_factor` with spatiotemporal super-resolution SRₗᵗ (§3.2).

    The network works in sliding windows of `Sampling.frames` frames that overlap by half.

    Args:
        sr_low: Denoiser with four conditioning channels.
        clips: Clips, shape (B, 3, T, H, W).
        fps: Frame rates, shape (B,).
        seeds: One seed per clip.
        sampling: Sampler settings.
        on_step: Called at every sampler step, to show progress.
        cond: Image embeddings, shape (B, D), for a network that was trained with them. None for no condition.
    """
    sliding = SlidingDenoiser(sr_low, sampling.frames, overlap=sampling.frames // 2)
    noise = _sr_noise(clips, seeds, sampling.low_factor, clips.shape[2], _SR_LOW, sr_low.frame_correlation)
    large = upsample(clips, sampling.low_factor, sampling.upsampling)
    return _super_resolve("sr_low", sr_low, sliding, large, noise, fps, sampling, on_step, cond)


def super_resolve_frames(
    sr_high: NetDenoiser,
    clips: Tensor,
    fps: Tensor,
    seeds: Sequence[int],
    sampling: Sampling,
    on_step: Step = no_step,
    cond: Tensor | None = None,
) -> Tensor:
    """Upsample clips frame by frame by `Sampling.high_factor` with spatial super-resolution SRₕ (§3.2).

    Args:
        sr_high: Denoiser with four conditioning channels.
        clips: Clips, shape (B, 3, T, H, W).
        fps: Frame rates, shape (B,).
        seeds: One seed per clip.
        sampling: Sampler settings. With `Sampling.shared_noise` all frames of a clip start from the same noise.
        on_step: Called at every sampler step, to show progress.
        cond: Image embeddings, shape (B, D), for a network that was trained with them. None for no condition.
    """
    s, frames = sampling, clips.shape[2]
    large = upsample(clips, s.high_factor, s.upsampling)
    if not s.shared_noise:
        noise = _sr_noise(clips, seeds, s.high_factor, frames, _SR_HIGH)
        return _super_resolve("sr_high", sr_high, sr_high, large, noise, fps, s, on_step, cond)
    # Each chunk starts the clip's noise anew, so all chunks have the same noise.
    chunks = []
    for chunk in torch.split(large, s.chunk, dim=2):
        noise = _sr_noise(clips, seeds, s.high_factor, 1, _SR_HIGH)
        chunks.append(_super_resolve("sr_high", sr_high, sr_high, chunk, noise, fps, s, on_step, cond))
    return torch.cat(chunks, dim=2)


def noise_levels(network: NetDenoiser, sampling: Sampling, steps: int) -> Tensor:
    """Return the noise levels at which a network is sampled, decreasing and ending in 0, shape (steps + 1,).

    Raises:
        UserError: If `Sampling.noise_levels` is ``trained`` and the network was trained on fewer discrete levels than
            `steps`.
    """
    levels = network.net.training_sigmas() if sampling.noise_levels == "trained" else None
    if levels is None:
        return karras_sigmas(steps, sigma_max=sampling.sigma_max)
    if steps > len(levels):
        raise UserError(f"a network has {len(levels)} noise levels, got {steps} steps.", argument="steps")
    return trained_sigmas(levels, steps)


def reads_noise_level(network: NetDenoiser) -> bool:
    """Return whether a network of super-resolution reads the level of the noise that was added to its input."""
    return space_time_network(network).in_channels > 2 * network.channels


def _sr_noise(
    clips: Tensor, seeds: Sequence[int], factor: int, frames: int, stream: int, correlation: float = 0.0
) -> SeededNoise:
    """Return the noise of super-resolved clips; with `frames` = 1 it broadcasts over the frames."""
    channels, (height, width) = clips.shape[1], clips.shape[3:]
    shape = (channels, frames, height * factor, width * factor)
    return SeededNoise(seeds, shape, clips.device, stream, correlation)


def _super_resolve(
    role: Role,
    network: NetDenoiser,
    denoiser: Denoiser,
    large: Tensor,
    noise: SeededNoise,
    fps: Tensor,
    sampling: Sampling,
    on_step: Step,
    cond: Tensor | None,
) -> Tensor:
    """Sample clips given upsampled clips, to which noise may be added (conditioning augmentation)."""

    def draw() -> Tensor:
        return noise().expand_as(large)

    concat = large
    if reads_noise_level(network):
        concat = augment_conditioning(large, large.new_full((len(large),), sampling.augmentation), draw())
    if cond is None:
        cond = large.new_zeros(len(large), space_time_network(network).cond_channels)

    def given(x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor) -> Denoised:
        return denoiser(x, sigma, cond, fps, concat)

    return _sample(role, network, given, draw, cond, fps, sampling, on_step)


def _sample(
    role: Role,
    network: NetDenoiser,
    denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Denoised],
    draw: Callable[[], Tensor],
    cond: Tensor,
    fps: Tensor,
    sampling: Sampling,
    on_step: Step,
) -> Tensor:
    """Sample from a denoiser that wraps a network, with the sampler and the noise levels of the network's role."""
    sampler, steps = sampling.solver(role)
    sigmas, evaluations = noise_levels(network, sampling, steps), itertools.count()
    per_step = 2 if sampler == "heun" else 1

    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        step, part = divmod(next(evaluations), per_step)
        if part == 0 and step < len(sigmas) - 1:  # a sampler of the user's own may evaluate more often
            on_step()
        return denoiser(x, sigma, cond, fps).clipped(sampling.clip_range)

    return find_sampler(sampler)(denoise, draw, sigmas)
