"""Typed requests for clips, one class per use of the cascade, and the networks that each use needs.

Light on purpose: the command line checks requests before it imports torch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import derived_seed
from mav_lightning.common.schema import NoiseSeed, PositiveFloat, check
from mav_lightning.prompts import Prompt

__all__ = [
    "AnimateRequest",
    "ClipRequest",
    "Clips",
    "ExtrapolateRequest",
    "FramesRequest",
    "MOST_CLIPS",
    "InterpolateRequest",
    "MorphRequest",
    "PrecedeRequest",
    "SuperResolveRequest",
    "TextRequest",
    "VariationRequest",
    "check_clip_count",
    "same_kind",
    "text_requests",
]

Clips = NDArray[np.uint8]
MOST_CLIPS = 100_000  # of one folder
_MOST_CHARACTERS = 1000  # of a prompt
_MOST_FRAMES = 4096  # of a given clip


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipRequest:
    """One clip to generate.

    Attributes:
        fps: Frame rate in frames per second. Of text and variations it is the decoder's, before interpolation; of all
            other uses it is the output's.
        seed: Seed of everything random in the clip, from 0 to 2⁴⁸ - 1.
        loop: Whether frames that lead from the last frame back to the first are appended.
        use: Name of the use, for manifests and messages.
        first: First network that samples frames. None if the given frames go straight to super-resolution.

    Raises:
        UserError: If a value is out of range.
    """

    use: ClassVar[str]
    first: ClassVar[Literal["decoder", "interpolator"] | None]

    fps: float
    seed: int
    loop: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        check(self.fps, PositiveFloat, "fps")
        check(self.seed, NoiseSeed, "seed")
        check(self.loop, bool, "loop")

    @property
    def noise_seed(self) -> int:
        """Seed of the clip's noise."""
        return self.seed


@dataclass(frozen=True, kw_only=True, eq=False)
class TextRequest(ClipRequest):
    """A clip from a text.

    Attributes:
        prompt: The text, 1 to 1000 characters, with the attributes that are known of it.
    """

    use, first = "text", "decoder"

    prompt: Prompt

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        text = check(self.prompt.text, str, "prompt")
        if not text.strip():
            raise UserError("is empty; write what the clip shows.", argument="prompt")
        if len(text) > _MOST_CHARACTERS:
            raise UserError(
                f"`{text[:40]}…` has {len(text)} characters; at most {_MOST_CHARACTERS} are accepted. One sentence is "
                "best: a text encoder reads a limited number of words and drops the rest.",
                argument="prompt",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class FramesRequest(ClipRequest):
    """A clip from given frames.

    Attributes:
        frames: Frames at the decoder's resolution, shape (T, size, size, 3), uint8.
        source: Where the frames come from, for manifests. None if unknown.
        count: Lowest and highest number of frames T that the use takes.
    """

    count: ClassVar[tuple[int, int]] = (1, _MOST_FRAMES)

    frames: Clips
    source: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        low, high = self.count
        shape, dtype = np.shape(self.frames), getattr(self.frames, "dtype", type(self.frames).__name__)
        if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8:
            raise UserError(f"must be uint8 of shape (T, H, W, 3), got {dtype} of shape {shape}.", argument="frames")
        if not low <= shape[0] <= high:
            number = counted(low, "frame") if low == high else f"{low} to {high} frames"
            raise UserError(f"`{self.use}` takes {number}, got {shape[0]}.", argument="frames")


class VariationRequest(FramesRequest):
    """A new clip with the content of a given clip: the mean embedding of its frames replaces the text's (§4).

    Its noise differs from that of a text request with the same seed, which would almost reproduce the given clip.
    """

    use, first = "variation", "decoder"

    @property
    def noise_seed(self) -> int:
        """Seed of the clip's noise, which no other use draws from the same seed."""
        return derived_seed(self.seed, self.use)


class AnimateRequest(FramesRequest):
    """A clip that begins with a given image (§3.3)."""

    use, first, count = "animate", "interpolator", (1, 1)


class MorphRequest(FramesRequest):
    """A clip from one given image to another, its first and last frame (§4)."""

    use, first, count = "morph", "interpolator", (2, 2)


class ExtrapolateRequest(FramesRequest):
    """A given clip and its continuation, which is conditioned on the clip's last frames."""

    use, first = "extrapolate", "interpolator"


class PrecedeRequest(FramesRequest):
    """A given clip and what comes before it, which is conditioned on the clip's first frames (§3.3)."""

    use, first = "precede", "interpolator"


class InterpolateRequest(FramesRequest):
    """A given clip with `Sampling.skip` times as many frames per second (§3.3)."""

    use, first = "interpolate", "interpolator"


class SuperResolveRequest(FramesRequest):
    """A given clip at a higher resolution (§3.2)."""

    use, first = "super_resolve", None


def check_clip_count(count: int) -> None:
    """Check the number of clips before any of them is requested.

    Raises:
        UserError: If one folder would hold more than 100,000 clips.
    """
    if count > MOST_CLIPS:
        raise UserError(f"{count} clips are requested, at most {MOST_CLIPS} fit into one folder; generate fewer.")


def text_requests(
    prompts: Sequence[Prompt], fps: Sequence[float], seeds: range, loop: bool = False
) -> list[TextRequest]:
    """Request clips of every prompt at every frame rate with every seed.

    Args:
        prompts: The prompts. A text that occurs again gets the next seeds, so that no clip is requested twice.
        fps: Frame rates that the decoder is conditioned on, frames per second.
        seeds: Seeds of a prompt's first occurrence.
        loop: Whether clips loop seamlessly.
    """
    requests, used = list[TextRequest](), Counter[str]()
    for prompt in prompts:
        shift = used[prompt.text]
        used[prompt.text] += len(seeds)
        requests += [
            TextRequest(prompt=prompt, fps=rate, seed=seed + shift, loop=loop) for rate in fps for seed in seeds
        ]
    return requests


def same_kind(requests: Sequence[ClipRequest]) -> type[ClipRequest]:
    """Return the class of requests that are generated together.

    Raises:
        UserError: If there are none, or they differ in their class, `loop`, or number of frames.
    """
    if not requests:
        raise UserError("is empty; give at least one.", argument="requests")
    kinds = {(type(one), one.loop, len(one.frames) if isinstance(one, FramesRequest) else 0) for one in requests}
    if len(kinds) > 1:
        raise UserError(
            "must all be of one class, with the same `loop` and the same number of frames.", argument="requests"
        )
    return type(requests[0])
