"""Clips from texts, images and clips: the one sampling chain of the cascade.

``text → CLIP → prior → image embedding → decoder → interpolation → super-resolution``. Clips stay in floating point
from the first network to the last and are rounded to uint8 once, at the end. `mav generate`, the Python API and the
clips that ablations score all come from `Pipeline.generate`.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mav_lightning.cascade.cascade import Cascade
from mav_lightning.cascade.clip_check import ClipWarning, describe_jump, find_jumps, last_given
from mav_lightning.cascade.clip_requests import (
    AnimateRequest,
    ClipRequest,
    Clips,
    ExtrapolateRequest,
    FramesRequest,
    InterpolateRequest,
    MorphRequest,
    PrecedeRequest,
    SuperResolveRequest,
    TextRequest,
    VariationRequest,
    same_kind,
)
from mav_lightning.cascade.memory_budget import with_batches
from mav_lightning.cascade.network_calls import Until, check_request, embeds_frames
from mav_lightning.cascade.pipeline_file import READY_MADE
from mav_lightning.cascade.pipeline_folder import read_pipeline
from mav_lightning.cascade.prompt_check import describe_caption
from mav_lightning.cascade.sample_networks import Step, no_step
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.sampling_chain import SamplingChain
from mav_lightning.cascade.sampling_check import check_sampling
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import to_uint8
from mav_lightning.prompts import Prompt

__all__ = ["Pipeline"]

Rates = float | Sequence[float]  # one value for all clips, or one per clip
Seeds = int | Sequence[int]


class Pipeline:
    """Text-to-video pipeline: generates clips from texts, images and clips.

    Each clip depends on its own input, fps and seed only, to the bit. Clips are uint8 arrays of shape (N, T, H, W, 3).
    `fps` and `seeds` are one value for all clips or a sequence with one value per clip.

    Args:
        cascade: The networks.
        sampling: Settings of the sampling chain. With `Sampling.memory`, the batch sizes are chosen from it.

    Raises:
        UserError: If the settings need a network that the cascade does not have, or not even one clip fits into
            `Sampling.memory`.

    Example:
        >>> from mav_lightning.cascade.video_pipeline import Pipeline
        >>> clips = Pipeline.from_pretrained()("a red circle on a dark background", fps=8, seeds=0)  # doctest: +SKIP
        >>> clips.shape  # doctest: +SKIP
        (1, 33, 64, 64, 3)
    """

    def __init__(self, cascade: Cascade, sampling: Sampling) -> None:
        check_request(TextRequest, [], False, cascade.rates, sampling)
        check_sampling(cascade, sampling)
        self.cascade, self.sampling = cascade, with_batches(cascade, sampling)

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, **sampling: Any) -> "Pipeline":
        """Load a pipeline.

        Args:
            folder: Pipeline folder, as written by `mav pipeline`. None for the pretrained Shapes World cascade that is
                part of the package.
            sampling: Fields of `Sampling` to replace.

        Raises:
            UserError: If the folder is not a pipeline or one of its networks cannot be loaded.
        """
        return cls(*read_pipeline(READY_MADE if folder is None else Path(folder), sampling))

    def __call__(
        self,
        prompts: str | Sequence[str],
        fps: Rates = 8.0,
        seeds: Seeds = 0,
        until: Until = "sr_high",
        loop: bool = False,
    ) -> Clips:
        """Generate one clip per prompt.

        Args:
            prompts: One text, or N texts.
            fps: Frame rate that the decoder is conditioned on, frames per second. After interpolation clips have `rate`
                times this.
            seeds: Seeds, from 0 to 2⁴⁸ - 1.
            until: Last network to run. Networks that the settings disable are skipped.
            loop: Append frames that lead back to the first one; if they jump, they are drawn again, up to four times.

        Returns:
            Clips, shape (N, T, H, W, 3), uint8.

        Warns:
            ClipWarning: If the text encoder does not know or does not read some words, or a clip jumps from one frame
                to the next.

        Raises:
            UserError: If an argument is out of range or lengths differ.
        """
        if not isinstance(prompts, str | Iterable):
            raise UserError(f"must be a text or a sequence of texts, got {prompts!r}.", argument="prompts")
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not texts:
            raise UserError("is empty; give at least one text.", argument="prompts")
        each = zip(texts, _per_clip(fps, len(texts), "fps"), _per_clip(seeds, len(texts), "seeds"), strict=True)
        return self._all([TextRequest(prompt=Prompt(t), fps=rate, seed=s, loop=loop) for t, rate, s in each], until)

    def variation(
        self, clips: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high", loop: bool = False
    ) -> Clips:
        """Generate new clips with the content of given clips, shape (N, T, size, size, 3) (§4).

        The mean embedding of a clip's frames replaces the embedding predicted from a text. The other
        arguments are those of `__call__`.
        """
        return self._from_frames(VariationRequest, clips, fps, seeds, until, loop)

    def animate(
        self, images: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high", loop: bool = False
    ) -> Clips:
        """Generate clips that begin with given images, shape (N, 1, size, size, 3) (§3.3).

        `fps` is the frame rate of the output, here and in all methods below; the other arguments are those of
        `__call__`.
        """
        return self._from_frames(AnimateRequest, images, fps, seeds, until, loop)

    def morph(
        self, ends: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high", loop: bool = False
    ) -> Clips:
        """Generate clips between given first and last frames, shape (N, 2, size, size, 3) (§4)."""
        return self._from_frames(MorphRequest, ends, fps, seeds, until, loop)

    def extrapolate(
        self,
        clips: Clips,
        fps: Rates = 8.0,
        seeds: Seeds = 0,
        until: Until = "sr_high",
        loop: bool = False,
        before: bool = False,
    ) -> Clips:
        """Continue given clips, shape (N, T, size, size, 3), from their last `Sampling.frames` / 2 frames or fewer.

        With `before`, what precedes the clips is sampled from their first frames instead.
        """
        kind = PrecedeRequest if before else ExtrapolateRequest
        return self._from_frames(kind, clips, fps, seeds, until, loop)

    def interpolate(
        self, clips: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high", loop: bool = False
    ) -> Clips:
        """Multiply the frame rate of given clips, shape (N, T, size, size, 3), by `rate` (§3.3)."""
        return self._from_frames(InterpolateRequest, clips, fps, seeds, until, loop)

    def loop(self, clips: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high") -> Clips:
        """Append frames to given clips, shape (N, T, size, size, 3), that lead back to the first frame."""
        return self._from_frames(SuperResolveRequest, clips, fps, seeds, until, True)

    def super_resolve(self, clips: Clips, fps: Rates = 8.0, seeds: Seeds = 0, until: Until = "sr_high") -> Clips:
        """Upsample given clips, shape (N, T, size, size, 3), with both super-resolution networks (§3.2)."""
        return self._from_frames(SuperResolveRequest, clips, fps, seeds, until, False)

    def generate(
        self, requests: Sequence[ClipRequest], until: Until = "sr_high", on_step: Step = no_step
    ) -> Iterator[Clips]:
        """Generate clips batch by batch.

        Args:
            requests: Requests of one class, with the same `loop` and the same number of given frames.
            until: Last network to run.
            on_step: Called at every sampler step, to show progress; `denoising_steps` counts those of a batch.

        Yields:
            Arrays of at most `Sampling.batch_size` clips, in the order of the requests.

        Raises:
            UserError: If the pipeline cannot serve a request. Nothing has been computed then.
        """
        self.check_requests(requests, until)
        size, chain = self.sampling.batch_size, SamplingChain(self.cascade, self.sampling, on_step)
        batches = (requests[i : i + size] for i in range(0, len(requests), size))
        return (np.concatenate([to_uint8(clip) for clip in chain.run(batch, until)]) for batch in batches)

    def check(
        self, kind: type[ClipRequest], fps: Sequence[float], loop: bool = False, until: Until = "sr_high"
    ) -> None:
        """Check that the pipeline can serve requests, before their input is read.

        Args:
            kind: Class of the requests.
            fps: Frame rate of each request, frames per second.
            loop: `ClipRequest.loop`.
            until: Last network to run.

        Raises:
            UserError: If a network is missing, an fps is outside the range that the networks were trained for, or the
                encoder embeds no images or no texts.
        """
        check_request(kind, fps, loop, self.cascade.rates, self.sampling, until)
        encoder = self.cascade.clip.network
        if encoder.no_texts and kind is TextRequest:
            raise UserError(encoder.no_texts, argument="clip")
        if encoder.no_images and embeds_frames(kind, loop, self.sampling, until):
            raise UserError(encoder.no_images, argument="clip")

    def check_requests(self, requests: Sequence[ClipRequest], until: Until = "sr_high") -> None:
        """Check that the pipeline can serve requests. Arguments and errors are those of `generate`."""
        self.check(same_kind(requests), [one.fps for one in requests], requests[0].loop, until)
        side = self.sampling.size
        for one in requests:
            if isinstance(one, FramesRequest) and one.frames.shape[1:] != (side, side, 3):
                raise UserError(
                    f"must have shape (T, {side}, {side}, 3), got {one.frames.shape}; resize them first.",
                    argument="frames",
                )

    def prompt_warnings(self, requests: Sequence[ClipRequest]) -> list[str]:
        """Describe which words of the prompts the text encoder does not know or does not read, each prompt once."""
        texts = dict.fromkeys(one.prompt.text for one in requests if isinstance(one, TextRequest))
        clip = self.cascade.clip
        return [message for text in texts for message in describe_caption(text, clip.network, clip.words)]

    @property
    def rate(self) -> int:
        """Frame rate of a clip from text divided by the frame rate that the decoder is conditioned on."""
        return self.sampling.skip

    def to(self, device: torch.device | str) -> "Pipeline":
        """Move the networks to a device. Clips are always returned on the CPU."""
        self.cascade.to(device)
        return self

    def _all(self, requests: Sequence[ClipRequest], until: Until, stacklevel: int = 3) -> Clips:
        """Generate clips, and warn the caller, who is `stacklevel` calls up, of what is probably not as requested."""
        clips = np.concatenate(list(self.generate(requests, until)))
        messages = self.prompt_warnings(requests)
        for number, (clip, request) in enumerate(zip(clips, requests, strict=True)):
            jumps = find_jumps(clip, request.loop, last_given(request))
            messages += [describe_jump(str(number), jump, request, self.sampling, until) for jump in jumps]
        for message in messages:
            warnings.warn(message, ClipWarning, stacklevel=stacklevel)
        return clips

    def _from_frames(
        self, kind: type[FramesRequest], clips: Clips, fps: Rates, seeds: Seeds, until: Until, loop: bool
    ) -> Clips:
        if np.ndim(clips) != 5 or not len(clips):
            shape = "(N, T, H, W, 3) with N ≥ 1"
            raise UserError(f"must be an array of shape {shape}, got shape {np.shape(clips)}.", argument="frames")
        each = zip(clips, _per_clip(fps, len(clips), "fps"), _per_clip(seeds, len(clips), "seeds"), strict=True)
        return self._all([kind(frames=clip, fps=rate, seed=seed, loop=loop) for clip, rate, seed in each], until, 4)


def _per_clip(values: Rates | Seeds, count: int, name: str) -> list[Any]:
    """Return one Python number per clip; a scalar is repeated.

    Raises:
        UserError: If a sequence has another length.
    """
    numbers = list(values) if isinstance(values, Iterable) and np.ndim(values) else [values] * count
    if len(numbers) != count:
        raise UserError(
            f"got {counted(len(numbers), 'value')} for {counted(count, 'clip')}; pass one for all or one per clip.",
            argument=name,
        )
    return [one.item() if isinstance(one, np.generic | np.ndarray | Tensor) else one for one in numbers]
