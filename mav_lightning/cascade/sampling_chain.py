"""The sampling chain: from requests to clips in floating point, through every network of the cascade."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.cascade.cascade import Cascade, TrainedNetwork
from mav_lightning.cascade.clip_batches import RequestedClips, in_batches, padded
from mav_lightning.cascade.clip_check import LARGEST_JUMP, jump_sizes
from mav_lightning.cascade.clip_requests import (
    AnimateRequest,
    ClipRequest,
    ExtrapolateRequest,
    FramesRequest,
    InterpolateRequest,
    MorphRequest,
    PrecedeRequest,
    TextRequest,
)
from mav_lightning.cascade.network_calls import Until, output_fps
from mav_lightning.cascade.sample_networks import (
    Step,
    fill_frames,
    interpolate_clips,
    no_step,
    sample_decoder,
    super_resolve_clips,
    super_resolve_frames,
)
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.hashing import derived_seed
from mav_lightning.common.pixels import from_uint8, to_uint8
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.interpolation_baselines import INTERPOLATIONS
from mav_lightning.diffusion.masks import MaskedFrames, every, first, last

__all__ = ["SamplingChain"]

LOOP_ATTEMPTS = 4  # at frames that lead back without a jump


@dataclass(frozen=True)
class SamplingChain:
    """Runs the networks of a cascade one after the other, without rounding between them.

    Attributes:
        cascade: The networks.
        sampling: Settings.
        on_step: Called at every sampler step; see `denoising_steps` for their number.
    """

    cascade: Cascade
    sampling: Sampling
    on_step: Step = no_step

    @torch.inference_mode()
    def run(self, requests: Sequence[ClipRequest], until: Until) -> Iterator[Tensor]:
        """Generate the clips of one batch; clips that are finished are not kept in memory.

        Args:
            requests: At most `Sampling.batch_size` requests of one class, which the cascade can serve, with the same
                `loop` and number of given frames.
            until: Last network to run.

        Yields:
            One clip per request, shape (1, 3, T, H, W), in [-1, 1] up to overshoot; reduced to `Sampling.output_size`
            after the last network of the cascade.
        """
        s = self.sampling
        if type(requests[0]).first == "decoder":
            clips = self._decoded(requests)
            if until != "decoder" and s.skip > 1:
                clips = in_batches(clips, s.interpolator_batch, lambda batch: self._interpolated(batch, until))
        else:
            clips = in_batches(self._given(requests), s.interpolator_batch, self._filled)
        if requests[0].loop:  # as many attempts as each clip needs
            made = in_batches(clips, 1, lambda clip: self._closed(clip, until))
        else:
            made = in_batches(clips, s.sr_batch, lambda batch: self._super_resolved(batch, until))
        size = s.output_size if until == "sr_high" else None
        for one in made:
            yield one.pixels if size is None else _reduced(one.pixels, size)

    def _decoded(self, requests: Sequence[ClipRequest]) -> Iterator[RequestedClips]:
        """Yield the decoder's clip of each request for a text or a variation."""
        batch = padded(requests, self.sampling.batch_size)
        given, fps, seeds = self._embeddings(batch), self._fps(batch), [one.noise_seed for one in batch]
        vae = None if self.cascade.vae is None else self.cascade.vae.network
        clips = sample_decoder(self.cascade.decoder.network, given, fps, seeds, self.sampling, self.on_step, vae)
        cond = given if given.ndim == 2 else F.normalize(given[:, 0], dim=1)  # other networks read no captions
        for row, request in enumerate(requests):  # without the copies
            yield RequestedClips(clips[row : row + 1], cond[row : row + 1], [request])

    def _given(self, requests: Sequence[ClipRequest]) -> Iterator[RequestedClips]:
        """Yield the given frames of each request."""
        for one in requests:
            assert isinstance(one, FramesRequest)
            yield RequestedClips(self._pixels([one]), None, [one])

    def _filled(self, clips: RequestedClips) -> Tensor:
        """Return clips (B, 3, T, H, W) at the decoder's resolution that hold the given frames."""
        pixels, frames, request = clips.pixels, self.sampling.frames, clips.requests[0]
        fps, seeds = self._fps(clips.requests), clips.seeds
        if isinstance(request, InterpolateRequest):
            return self._interpolate(pixels, self._embed(pixels), fps, seeds)
        if isinstance(request, ExtrapolateRequest | PrecedeRequest):
            overlap = min(pixels.shape[2], frames // 2)
            if isinstance(request, PrecedeRequest):
                window = self._fill(pixels[:, :, :overlap], last(overlap, frames), fps, seeds)
                return torch.cat([window[:, :, :-overlap], pixels], dim=2)
            window = self._fill(pixels[:, :, -overlap:], first(overlap, frames), fps, seeds)
            return torch.cat([pixels, window[:, :, overlap:]], dim=2)
        if isinstance(request, AnimateRequest):
            return self._fill(pixels, first(1, frames), fps, seeds)
        if isinstance(request, MorphRequest):
            return self._fill(pixels, self._ends(), fps, seeds)
        return pixels

    def _closed(self, clips: RequestedClips, until: Until) -> Tensor:
        """Close the loop of one clip, and super-resolve it."""
        clip, seed, fps = clips.pixels, clips.seeds[0], self._output_fps(clips, until)
        loops = []
        for attempt in range(LOOP_ATTEMPTS):
            chain = self if attempt == 0 else replace(self, on_step=no_step)
            own = derived_seed(seed, f"loop {attempt}") if attempt else seed
            back = chain._fill(clip[:, :, [-1, 0]], self._ends(), fps, [own])
            closed = torch.cat([clip, back[:, :, 1:-1]], dim=2)
            closed = chain._super_resolved(replace(clips, pixels=closed), until)
            seam = float(jump_sizes(to_uint8(closed)[0], loop=True)[clip.shape[2] - 1 :].max())
            loops.append((seam, closed))
            if seam <= LARGEST_JUMP:
                break
        return min(loops, key=lambda loop: loop[0])[1]

    def _super_resolved(self, clips: RequestedClips, until: Until) -> Tensor:
        s, networks, seeds = self.sampling, self.cascade.denoisers, clips.seeds
        made, fps = clips.pixels, self._output_fps(clips, until)
        if until in ("sr_low", "sr_high") and s.low_factor > 1:
            sr_low = networks["sr_low"]
            cond = self._sr_condition(sr_low, made, clips.cond)
            made = super_resolve_clips(sr_low.network, made, fps, seeds, s, self.on_step, cond)
        if until == "sr_high" and s.high_factor > 1:
            sr_high = networks["sr_high"]
            cond = self._sr_condition(sr_high, made, clips.cond)
            made = super_resolve_frames(sr_high.network, made, fps, seeds, s, self.on_step, cond)
        return made

    def _sr_condition(self, network: TrainedNetwork[NetDenoiser], clips: Tensor, cond: Tensor | None) -> Tensor | None:
        """Return embeddings (B, D) for a network that was trained with them: the decoder's, or those of the clips."""
        if not network.conditioned:
            return None
        return self._embed(clips) if cond is None else cond

    def _interpolated(self, clips: RequestedClips, until: Until) -> Tensor:
        """Insert frames between those of the decoder's clips."""
        assert clips.cond is not None
        return self._interpolate(clips.pixels, clips.cond, self._output_fps(clips, until), clips.seeds)

    def _interpolate(self, clip: Tensor, cond: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        if self.sampling.interpolation != "network":
            return INTERPOLATIONS[self.sampling.interpolation](clip, self.sampling.skip)
        network = self.cascade.denoisers["interpolator"].network
        return interpolate_clips(network, clip, cond, fps, seeds, self.sampling, self.on_step)

    def _fill(self, frames: Tensor, mask: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        """Put frames (B, 3, K, H, W) where `mask` (T,) is True, and sample the other frames."""
        network = self.cascade.denoisers["interpolator"].network
        clip = frames.new_zeros(*frames.shape[:2], len(mask), *frames.shape[3:])
        clip[:, :, mask] = frames
        known = MaskedFrames(clip, mask.to(clip.device).expand(len(clip), -1))
        return fill_frames(network, known, self._embed(frames), fps, seeds, self.sampling, self.on_step)

    def _ends(self) -> Tensor:
        return every(self.sampling.frames - 1, self.sampling.frames)

    def _embeddings(self, requests: Sequence[ClipRequest]) -> Tensor:
        """Return the image embeddings (B, D) that condition the decoder, or with captions (B, 2 + L, D)."""
        texts = [one.prompt.text for one in requests if isinstance(one, TextRequest)]
        if texts:
            words = self.cascade.clip.network.encode_words(texts)
            return self.cascade.prior.network.predict(words, [one.noise_seed for one in requests])
        return self._embed(self._pixels([one for one in requests if isinstance(one, FramesRequest)]))

    def _embed(self, clips: Tensor) -> Tensor:
        """Return the mean embedding of the frames of clips (B, 3, T, H, W), normalized to unit length: (B, D)."""
        frames = rearrange(clips, "b c t h w -> (b t) c h w")
        embedded = self.cascade.clip.network.encode_image(frames)
        mean: Tensor = reduce(embedded, "(b t) d -> b d", "mean", b=len(clips))
        return F.normalize(mean, dim=1)

    def _pixels(self, requests: Sequence[FramesRequest]) -> Tensor:
        return from_uint8(np.stack([one.frames for one in requests])).to(self.cascade.device)

    def _fps(self, requests: Sequence[ClipRequest]) -> Tensor:
        return torch.tensor([one.fps for one in requests], dtype=torch.float32, device=self.cascade.device)

    def _output_fps(self, clips: RequestedClips, until: Until) -> Tensor:
        return self._fps(clips.requests) * output_fps(type(clips.requests[0]), self.sampling, until)


def _reduced(clip: Tensor, size: int) -> Tensor:
    """Reduce the frames of a clip (1, 3, T, H, W) to a side of `size` pixels."""
    frames = rearrange(clip.clamp(-1, 1), "b c t h w -> (b t) c h w")
    frames = F.interpolate(frames, size=(size, size), mode="bicubic", antialias=True)
    reduced: Tensor = rearrange(frames, "(b t) c h w -> b c t h w", b=len(clip))
    return reduced
