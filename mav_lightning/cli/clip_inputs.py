"""Requests for clips from the words, files and options of ``mav generate``; torch is not needed to reject them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mav_lightning.cascade.pipeline_file import read_pipeline_file, trained_rates
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError

if TYPE_CHECKING:
    from mav_lightning.cascade.clip_requests import ClipRequest, Clips, FramesRequest

__all__ = ["ClipInputs"]

_MOST_FRAMES = 4096  # of a given clip


@dataclass(frozen=True)
class ClipInputs:
    """Settings that all requests of one command share.

    Attributes:
        pipeline: Pipeline folder that is to serve them.
        fps: Frame rates in frames per second; every input is requested at each.
        seeds: Seeds; every input is requested with each.
        loop: Whether clips loop.
    """

    pipeline: Path
    fps: Sequence[float]
    seeds: range
    loop: bool

    def from_prompts(self, words: Sequence[str], file: Path | None) -> "Sequence[ClipRequest]":
        """Request every prompt at every frame rate with every seed.

        Args:
            words: Prompts.
            file: File of further prompts. None if there is none.

        Raises:
            UserError: If the pipeline cannot serve them, a prompt is empty or too long, or there are too many.
        """
        from mav_lightning.cascade.clip_requests import TextRequest, check_clip_count, text_requests
        from mav_lightning.prompts import Prompt, read_prompts

        self._check(TextRequest)
        prompts = [*map(Prompt, words), *(read_prompts(file) if file else [])]
        check_clip_count(len(prompts) * len(self.fps) * len(self.seeds))
        return text_requests(prompts, self.fps, self.seeds, self.loop)

    def from_files(self, use: str, files: Sequence[Path]) -> "Sequence[ClipRequest]":
        """Request clips from images or a clip, at every frame rate with every seed.

        Args:
            use: ``animate``, ``interpolate``, ``extrapolate``, ``precede`` or ``variation``.
            files: The images, or the clip.

        Raises:
            UserError: If the pipeline cannot serve them, a file cannot be read, or there are too many.
        """
        from mav_lightning.cascade import clip_requests

        kinds: dict[str, type[FramesRequest]] = {
            "animate": clip_requests.AnimateRequest,
            "interpolate": clip_requests.MorphRequest,
            "extrapolate": clip_requests.ExtrapolateRequest,
            "precede": clip_requests.PrecedeRequest,
            "variation": clip_requests.VariationRequest,
        }
        if use in ("extrapolate", "precede") and len(self.fps) > 1:
            raise UserError(
                "a clip has the same frame rate before and after it is extended, so give exactly one; got "
                f"{len(self.fps)}.",
                argument="fps",
            )
        self._check(kinds[use])
        clip_requests.check_clip_count(len(self.fps) * len(self.seeds))
        size = read_pipeline_file(self.pipeline).sampling.size
        frames, source = _read(use, files, self.fps[0], size), " ".join(map(str, files))
        return [
            kinds[use](frames=frames, source=source, fps=rate, seed=seed, loop=self.loop)
            for rate in self.fps
            for seed in self.seeds
        ]

    def _check(self, kind: "type[ClipRequest]") -> None:
        from mav_lightning.cascade.network_calls import check_request

        sampling = read_pipeline_file(self.pipeline).sampling
        check_request(kind, self.fps, self.loop, trained_rates(self.pipeline), sampling)


def _read(use: str, files: Sequence[Path], fps: float, size: int) -> "Clips":
    """Read the given images, or the given clip's frames at `fps`, as one array (T, size, size, 3)."""
    import numpy as np

    from mav_lightning.common.cropping import crop_to_square
    from mav_lightning.media.media_reader import open_media
    from mav_lightning.media.pictures import decode_picture

    if use in ("animate", "interpolate"):
        return np.stack([crop_to_square(decode_picture(file), size) for file in files])
    (file,) = files
    with open_media(file) as video:
        times = video.timeline
        count = 1 + int(min(times.span * fps, 2 * _MOST_FRAMES) + 1e-6)
        if not 2 <= count <= _MOST_FRAMES:
            raise UserError(
                f"{file}: has {counted(count, 'frame')} at {fps:g} fps ({len(times)} at {times.fps:g}), 2 to "
                f"{_MOST_FRAMES} are accepted; choose another --fps, cut the clip, or use --animate with an image.",
                argument=use,
            )
        numbers = times.at(np.arange(count) / fps).tolist()
        return np.stack([crop_to_square(frame, size) for frame in video.frames(numbers)])
