"""The sampling chain: from requests to clips in floating point, through every network of the cascade."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.cascade.cascade import Cascade, TrainedNetwork, required
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
    interpolate_without_network,
    no_step,
    sample_decoder,
    super_resolve_clips,
    super_resolve_frames,
)
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.hashing import derived_seed
from mav_lightning.common.pixels import from_uint8, to_uint8
from mav_lightning.diffusion.denoiser import NetDenoiser
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
    def run(self, requests: Sequence[ClipRequest], until: Until) -> list[Tensor]:
        """Generate the clips of one batch.

        Args:
            requests: At most `Sampling.batch_size` requests of one class, which the cascade can serve.
            until: Last network to run.

        Returns:
            One clip per request, shape (1, 3, T, H, W), in [-1, 1] up to overshoot; reduced to `Sampling.output_size`
            after the last network of the cascade.
        """
        start = self._from_decoder if type(requests[0]).first == "decoder" else self._without_decoder
        clips = zip(requests, start(requests, until), strict=True)
        made = [self._after_decoder(clip, cond, request, until) for request, (clip, cond) in clips]
        size = self.sampling.output_size
        return made if size is None or until != "sr_high" else [_reduced(clip, size) for clip in made]

    def _from_decoder(self, requests: Sequence[ClipRequest], until: Until) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the interpolated clip (1, 3, T, H, W) of each request for a text or a variation, and its condition."""
        s = self.sampling
        padded = [*requests, *[requests[-1]] * (s.batch_size - len(requests))]  # the copies' clips are dropped
        given, fps, seeds = self._embeddings(padded), self._fps(padded), [one.noise_seed for one in padded]
        vae = None if self.cascade.vae is None else self.cascade.vae.network
        clips = sample_decoder(self.cascade.decoder.network, given, fps, seeds, s, self.on_step, vae)
        cond = given if given.ndim == 2 else F.normalize(given[:, 0], dim=1)  # other networks read no captions
        # One by one: larger batches are no faster here, and a batch would have to be padded with copies.
        for i in range(len(requests)):
            one = slice(i, i + 1)
            skipped = until == "decoder" or s.skip == 1
            clip = clips[one]
            yield clip if skipped else self._interpolate(clip, cond[one], fps[one] * s.skip, seeds[one]), cond[one]

    def _without_decoder(self, requests: Sequence[ClipRequest], until: Until) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the clip (1, 3, T, H, W) of each request that starts from given frames; its own condition is None."""
        for request in requests:
            assert isinstance(request, FramesRequest)
            yield self._from_frames(request), None

    def _from_frames(self, request: FramesRequest) -> Tensor:
        """Return the clip (1, 3, T, H, W) of a request that starts from given frames."""
        pixels, fps, seeds = self._pixels([request]), self._fps([request]), [request.noise_seed]
        if isinstance(request, InterpolateRequest):
            return self._interpolate(pixels, self._embed(pixels), fps, seeds)
        if isinstance(request, ExtrapolateRequest | PrecedeRequest):
            frames = self.sampling.frames
            overlap = min(pixels.shape[2], frames // 2)
            if isinstance(request, PrecedeRequest):
                window = self._fill(pixels[:, :, :overlap], last(overlap, frames), fps, seeds, request.use)
                return torch.cat([window[:, :, :-overlap], pixels], dim=2)
            window = self._fill(pixels[:, :, -overlap:], first(overlap, frames), fps, seeds, request.use)
            return torch.cat([pixels, window[:, :, overlap:]], dim=2)
        if isinstance(request, AnimateRequest):
            return self._fill(pixels, first(1, self.sampling.frames), fps, seeds, request.use)
        if isinstance(request, MorphRequest):
            return self._fill(pixels, self._ends(), fps, seeds, request.use)
        return pixels

    def _after_decoder(self, clip: Tensor, cond: Tensor | None, request: ClipRequest, until: Until) -> Tensor:
        """Close the loop of a clip (1, 3, T, H, W) if requested, and super-resolve it."""
        fps = self._fps([request]) * output_fps(type(request), self.sampling, until)
        if not request.loop:
            return self._super_resolve(clip, cond, fps, request.noise_seed, until)
        loops = []
        for attempt in range(LOOP_ATTEMPTS):
            chain = self if attempt == 0 else replace(self, on_step=no_step)
            seed = derived_seed(request.noise_seed, f"loop {attempt}") if attempt else request.noise_seed
            back = chain._fill(clip[:, :, [-1, 0]], self._ends(), fps, [seed], "loop")
            closed = torch.cat([clip, back[:, :, 1:-1]], dim=2)
            closed = chain._super_resolve(closed, cond, fps, request.noise_seed, until)
            seam = float(jump_sizes(to_uint8(closed)[0], loop=True)[clip.shape[2] - 1 :].max())
            loops.append((seam, closed))
            if seam <= LARGEST_JUMP:
                break
        return min(loops, key=lambda loop: loop[0])[1]

    def _super_resolve(self, clip: Tensor, cond: Tensor | None, fps: Tensor, seed: int, until: Until) -> Tensor:
        s, cascade = self.sampling, self.cascade
        if until in ("sr_low", "sr_high") and s.low_factor > 1:
            sr_low = required(cascade.sr_low, "sr_low", "low_factor")
            own = self._sr_condition(cascade.sr_low, clip, cond)
            clip = super_resolve_clips(sr_low, clip, fps, [seed], s, self.on_step, own)
        if until == "sr_high" and s.high_factor > 1:
            sr_high = required(cascade.sr_high, "sr_high", "high_factor")
            own = self._sr_condition(cascade.sr_high, clip, cond)
            clip = super_resolve_frames(sr_high, clip, fps, [seed], s, self.on_step, own)
        return clip

    def _sr_condition(
        self, network: TrainedNetwork[NetDenoiser] | None, clip: Tensor, cond: Tensor | None
    ) -> Tensor | None:
        """Return the embedding (1, D) for a network that was trained with them: the decoder's, or that of the clip."""
        if network is None or not network.conditioned:
            return None
        return self._embed(clip) if cond is None else cond

    def _interpolate(self, clip: Tensor, cond: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        if self.sampling.interpolation != "network":
            return interpolate_without_network(clip, self.sampling)
        network = required(self.cascade.interpolator, "interpolator", "skip")
        return interpolate_clips(network, clip, cond, fps, seeds, self.sampling, self.on_step)

    def _fill(self, frames: Tensor, mask: Tensor, fps: Tensor, seeds: Sequence[int], purpose: str) -> Tensor:
        """Put frames (1, 3, K, H, W) where `mask` (T,) is True, and sample the other frames."""
        network = required(self.cascade.interpolator, "interpolator", purpose)
        clip = frames.new_zeros(*frames.shape[:2], len(mask), *frames.shape[3:])
        clip[:, :, mask] = frames
        known = MaskedFrames(clip, mask[None].to(clip.device))
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


def _reduced(clip: Tensor, size: int) -> Tensor:
    """Reduce the frames of a clip (1, 3, T, H, W) to a side of `size` pixels."""
    frames = rearrange(clip.clamp(-1, 1), "b c t h w -> (b t) c h w")
    frames = F.interpolate(frames, size=(size, size), mode="bicubic", antialias=True)
    reduced: Tensor = rearrange(frames, "(b t) c h w -> b c t h w", b=len(clip))
    return reduced
