"""From a text, an image or a clip to a clip: the trained networks in a row.

``text → CLIP → prior → image embedding → decoder → interpolation → super-resolution``. A pipeline is a folder of
networks and one ``pipeline.json``; it needs nothing else of the runs that trained them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.cascade.pipeline_folder import READY_MADE, read_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.stages import Stages
from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import from_uint8, to_uint8
from mav_lightning.diffusion.masks import MaskedFrames, every, first

__all__ = ["Clips", "Pipeline", "Stage"]

MOST_CHARACTERS = 1000  # of a prompt
Stage = Literal["decoder", "interpolator", "sr_low", "sr_high"]
Clips = NDArray[np.uint8]


class Pipeline:
    """Generates clips.

    Clip *i* depends on its own input, fps and seed alone, to the bit. All clips are arrays (N, T, H, W, 3), uint8.

    Args:
        networks: Role → network. ``clip`` embeds texts and images, ``prior`` maps ``predict(words, seeds)`` to image
            embeddings, ``decoder`` is the denoiser of images or of clips; an image denoiser gives frames that know
            nothing of each other. ``interpolator`` is the denoiser that fills unknown frames; all but text and
            `variation` need it. ``sr_low`` and ``sr_high`` are those of super-resolution.
        sampling: How clips are drawn.
        checkpoints: Role → id of the network, for manifests.
        trained_fps: Role → the lowest and the highest frame rate that the network was trained for; others are refused.
            Of roles that are missing any rate is taken.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        sampling: Sampling,
        checkpoints: Mapping[str, str] | None = None,
        trained_fps: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.networks = {role: network.eval() for role, network in networks.items()}
        self.sampling, self.checkpoints = sampling, dict(checkpoints or {})
        self.trained_fps = dict(trained_fps or {})
        self.stages = Stages(self.networks, sampling)

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, **sampling: object) -> "Pipeline":
        """Loads a pipeline.

        Args:
            folder: As `write_pipeline` wrote it; None for the ready-made one, Shapes World at the scale `tiny`.
            sampling: Replace fields of `Sampling`.

        Raises:
            UserError: Not a pipeline folder, or a network in it that does not load.
        """
        stored = read_pipeline(READY_MADE if folder is None else Path(folder))
        settings = Sampling(**{**stored.sampling, **sampling})
        return cls(stored.networks, settings, stored.checkpoints, stored.trained_fps)

    def __call__(
        self, prompts: Sequence[str], fps: Sequence[float], seeds: Sequence[int], until: Stage = "sr_high"
    ) -> Clips:
        """Generates one clip for each prompt.

        Args:
            prompts: N texts.
            fps: N frame rates that the decoder animates for, frames per second, within what it was trained for.
            seeds: N seeds.
            until: The stage whose output is wanted; stages that the settings leave out pass on what they get. From
                ``interpolator`` on a clip has `rate` times its fps.

        Raises:
            UserError: No prompt, or a frame rate that the networks do not know.
        """
        return np.concatenate(list(self.batches(prompts, fps, seeds, until)))

    @property
    def rate(self) -> int:
        """Frames per second that come out for each that was asked of the decoder."""
        return self.sampling.skip

    @torch.inference_mode()
    def batches(
        self, prompts: Sequence[str], fps: Sequence[float], seeds: Sequence[int], until: Stage = "sr_high"
    ) -> Iterator[Clips]:
        """Generates batch by batch, as `__call__`: yields arrays of at most ``sampling.batch_size`` clips."""

        def run(texts: list[str], rates: Tensor, numbers: list[int], count: int) -> Tensor:
            words = self.networks["clip"].encode_words(texts)  # type: ignore[operator]
            cond = self.networks["prior"].predict(words, numbers)  # type: ignore[operator]
            return self._animated(cond, rates, numbers, count, until)

        self.check_prompts(prompts)
        self.check_fps(fps, "decoder", until)
        yield from self._in_batches(run, prompts, fps, seeds)

    def variation(self, clips: Clips, fps: Sequence[float], seeds: Sequence[int], until: Stage = "sr_high") -> Clips:
        """New clips of what N clips show: their frames' mean embedding takes the text's place (§4)."""

        def run(given: list[Clips], rates: Tensor, numbers: list[int], count: int) -> Tensor:
            return self._animated(self._embed(self._pixels(given)), rates, numbers, count, until)

        self.check_fps(fps, "decoder", until)
        return self._all(run, clips, fps, seeds)

    def animate(self, images: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """Clips that begin with N images (N, 1, H, W, 3) (§3.3)."""
        return self._filled("animate", first(1, self.sampling.frames), images, fps, seeds)

    def interpolate(self, clips: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """N clips of the decoder's length with `rate` times as many frames per second; `fps` is that of the result."""

        def run(given: list[Clips], rates: Tensor, numbers: list[int], count: int) -> Tensor:
            pixels = self._pixels(given)
            return self.stages.interpolate(pixels, self._embed(pixels), rates, numbers)

        self.check_fps(fps, "interpolator")
        return self._all(run, clips, fps, seeds)

    def morph(self, ends: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """Clips from one image to another: N pairs (N, 2, H, W, 3), the first and the last frame (§4)."""
        frames = self.sampling.frames
        return self._filled("interpolate", every(frames - 1, frames), ends, fps, seeds)

    def extrapolate(self, clips: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """N clips and what comes next: their last frames, half a window of them, begin the window to be filled."""
        frames = self.sampling.frames
        overlap = min(clips.shape[1], frames // 2)
        more = self._filled("extrapolate", first(overlap, frames), clips[:, -overlap:], fps, seeds)
        return np.concatenate([clips, more[:, overlap:]], axis=1)

    def loop(self, clips: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """N clips and a way back: played over and over they have no seam."""
        back = self.morph(clips[:, [-1, 0]], fps, seeds)
        return np.concatenate([clips, back[:, 1:-1]], axis=1)

    def sharpen(self, clips: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """N clips of any length at the decoder's size, enlarged by both super-resolution stages (§3.2)."""

        def run(given: list[Clips], rates: Tensor, numbers: list[int], count: int) -> Tensor:
            pixels = self._pixels(given)
            each = (slice(i, i + 1) for i in range(count))
            return torch.cat([self._sharpened(pixels[one], rates[one], numbers[one], "sr_high") for one in each])

        return self._all(run, clips, fps, seeds)

    def _filled(self, use: str, mask: Tensor, frames: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        """Puts the given frames where `mask` says, in order, and fills the others."""

        def run(given: list[Clips], rates: Tensor, numbers: list[int], count: int) -> Tensor:
            pixels = self._pixels(given)
            clips = pixels.new_zeros(len(pixels), 3, len(mask), *pixels.shape[3:])
            clips[:, :, mask] = pixels
            known = MaskedFrames(clips, mask.to(self.device).expand(len(pixels), -1))
            return self.stages.fill(known, self._embed(pixels), rates, numbers, use)

        self.check_fps(fps, "interpolator")
        return self._all(run, frames, fps, seeds)

    def _animated(self, cond: Tensor, fps: Tensor, seeds: Sequence[int], count: int, until: Stage) -> Tensor:
        """Embeddings (B, D) → the first `count` clips (count, 3, T, H, W)."""
        clips = self.stages.decode(cond, fps, seeds)[:count]
        if until == "decoder":
            return clips
        # clip by clip: larger batches gain nothing here, and what fills a batch would cost as much as a clip
        each = (slice(i, i + 1) for i in range(count))
        return torch.cat([self._refined(clips[one], cond[one], fps[one], seeds[one], until) for one in each])

    def _refined(self, clips: Tensor, cond: Tensor, fps: Tensor, seeds: Sequence[int], until: Stage) -> Tensor:
        skip = self.sampling.skip
        if skip > 1:
            clips, fps = self.stages.interpolate(clips, cond, fps * skip, seeds), fps * skip
        return clips if until == "interpolator" else self._sharpened(clips, fps, seeds, until)

    def _sharpened(self, clips: Tensor, fps: Tensor, seeds: Sequence[int], until: Stage) -> Tensor:
        if self.sampling.low_factor > 1:
            clips = self.stages.sharpen_clip(clips, fps, seeds)
        if until != "sr_low" and self.sampling.high_factor > 1:
            clips = self.stages.sharpen_frames(clips, fps, seeds)
        return clips

    def _embed(self, clips: Tensor) -> Tensor:
        """The mean embedding of the frames of clips (B, 3, T, H, W), of unit length: (B, D)."""
        frames = clips.transpose(1, 2)
        embedded = self.networks["clip"].encode_image(frames.flatten(0, 1))  # type: ignore[operator]
        return F.normalize(embedded.unflatten(0, frames.shape[:2]).mean(dim=1), dim=1)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises `UserError` where there is no prompt, or one that is empty or too long to be meant."""
        if not prompts:
            raise UserError('no prompt given; for example `mav generate "a red circle on a dark background" …`.')
        for number, prompt in enumerate(prompts, start=1):
            if not prompt.strip():
                raise UserError(f"prompt {number} is empty; say what to show, or leave it out.")
            if len(prompt) > MOST_CHARACTERS:
                raise UserError(
                    f"prompt {number} has {len(prompt)} characters; at most {MOST_CHARACTERS} are taken. One sentence "
                    "is best: a text encoder reads some words and drops the rest."
                )

    def check_fps(self, fps: Sequence[float], role: str, until: Stage = "sr_high") -> None:
        """Raises `UserError` for frame rates that the network that is asked, and interpolation after it, do not know.

        Args:
            fps: Frame rates, as they are asked of `role`.
            role: ``decoder`` or ``interpolator``.
            until: As `__call__`.
        """
        s, faster = self.sampling, 1
        asked = [(role, 1)]
        if role == "decoder" and until != "decoder" and s.skip > 1:
            faster = s.skip
            if s.interpolation == "network":
                asked.append(("interpolator", faster))
        if until in ("sr_low", "sr_high") and s.low_factor > 1:
            asked.append(("sr_low", faster))
        for name, factor in asked:
            low, high = (bound / factor for bound in self.trained_fps.get(name, (0.0, float("inf"))))
            for rate in _positive(fps):
                if not low <= rate <= high:
                    raise UserError(
                        f"fps {rate:g}: `{name}` was trained for clips asked for at {low:g} to {high:g} frames per "
                        "second; choose a rate among these."
                    )

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return next(self.networks["decoder"].parameters()).device

    def to(self, device: torch.device | str) -> "Pipeline":
        """Moves the networks; clips always come back to the CPU."""
        for network in self.networks.values():
            network.to(device)
        return self

    def _pixels(self, clips: Sequence[Clips]) -> Tensor:
        return from_uint8(np.stack(clips)).to(self.device)

    @torch.inference_mode()
    def _all(self, run: Callable[..., Tensor], clips: Clips, fps: Sequence[float], seeds: Sequence[int]) -> Clips:
        side = self.sampling.size
        if clips.shape[2:] != (side, side, 3):
            raise UserError(f"frames must have shape ({side}, {side}, 3), got {clips.shape[2:]}; scale them first.")
        return np.concatenate(list(self._in_batches(run, list(clips), fps, seeds)))

    def _in_batches(
        self, run: Callable[..., Tensor], inputs: Sequence[Any], fps: Sequence[float], seeds: Sequence[int]
    ) -> Iterator[Clips]:
        _positive(fps)
        size = self.sampling.batch_size
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            count = len(inputs[part])
            # repeat the last clip until the batch is full: its copies are computed and dropped
            chosen = [*range(count), *[count - 1] * (size - count)]
            given, rates, numbers = ([values[part][i] for i in chosen] for values in (inputs, fps, seeds))
            on_device = torch.tensor(rates, dtype=torch.float32, device=self.device)
            yield to_uint8(run(given, on_device, numbers, count)[:count])


def _positive(fps: Sequence[float]) -> Sequence[float]:
    for rate in fps:
        if not rate > 0:
            raise UserError(f"fps must be above 0 frames per second, got {rate:g}; for example `--fps 8`.")
    return fps
