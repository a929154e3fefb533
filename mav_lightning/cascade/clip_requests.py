"""Typed requests for clips, one class per use of the cascade, and the networks that each use needs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from mav_lightning.cascade.cascade import Cascade, Role, required
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, check
from mav_lightning.diffusion.noise import MOST_SEEDS
from mav_lightning.prompts import Prompt

__all__ = [
    "AnimateRequest",
    "ClipRequest",
    "Clips",
    "ExtrapolateRequest",
    "FramesRequest",
    "InterpolateRequest",
    "MorphRequest",
    "NetworkCall",
    "SuperResolveRequest",
    "TextRequest",
    "Until",
    "VariationRequest",
    "check_request",
    "network_calls",
    "output_fps",
    "same_kind",
    "text_requests",
]

Clips = NDArray[np.uint8]
Until = Literal["decoder", "interpolator", "sr_low", "sr_high"]
_MOST_CHARACTERS = 1000  # of a prompt
_MOST_FRAMES = 4096  # of a given clip
_Seed = Annotated[int, Ge(0), Le(MOST_SEEDS - 1)]


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
        check(self.seed, _Seed, "seed")
        check(self.loop, bool, "loop")


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
            number = f"{low}" if low == high else f"{low} to {high}"
            raise UserError(f"`{self.use}` takes {number} frames, got {shape[0]}.", argument="frames")


class VariationRequest(FramesRequest):
    """A new clip with the content of a given clip: the mean embedding of its frames replaces the text's (§4)."""

    use, first = "variation", "decoder"


class AnimateRequest(FramesRequest):
    """A clip that begins with a given image (§3.3)."""

    use, first, count = "animate", "interpolator", (1, 1)


class MorphRequest(FramesRequest):
    """A clip from one given image to another, its first and last frame (§4)."""

    use, first, count = "morph", "interpolator", (2, 2)


class ExtrapolateRequest(FramesRequest):
    """A given clip and its continuation, which is conditioned on the clip's last frames."""

    use, first = "extrapolate", "interpolator"


class InterpolateRequest(FramesRequest):
    """A given clip with `Sampling.skip` times as many frames per second (§3.3)."""

    use, first = "interpolate", "interpolator"


class SuperResolveRequest(FramesRequest):
    """A given clip at a higher resolution (§3.2)."""

    use, first = "super_resolve", None


class NetworkCall(NamedTuple):
    """A denoiser that a request runs.

    Attributes:
        role: The denoiser's role.
        fps: Frame rate of the clip that it samples, relative to the fps of the request.
        purpose: Why it is needed, for messages.
    """

    role: Role
    fps: int
    purpose: str


def network_calls(kind: type[ClipRequest], loop: bool, sampling: Sampling, until: Until) -> list[NetworkCall]:
    """Return the denoisers that a request runs, in order.

    Args:
        kind: Class of the request.
        loop: `ClipRequest.loop`.
        sampling: Settings of the pipeline.
        until: Last network that runs.

    Raises:
        UserError: If `until` comes before the first network of the use.
    """
    s, calls = sampling, list[NetworkCall]()
    if until == "decoder" and (kind.first != "decoder" or loop):
        option = "a loop" if loop else f"`{kind.use}`"
        raise UserError(f"{option} needs frames from after the decoder; use `interpolator` or later.", argument="until")
    factor = output_fps(kind, s, until)
    if kind.first == "decoder":
        calls.append(NetworkCall("decoder", 1, kind.use))
    if kind.first == "decoder" and factor > 1 and s.interpolation == "network":
        calls.append(NetworkCall("interpolator", factor, f"skip={s.skip}"))
    if kind.first == "interpolator" and (kind is not InterpolateRequest or s.interpolation == "network"):
        calls.append(NetworkCall("interpolator", factor, kind.use))
    if loop:
        calls.append(NetworkCall("interpolator", factor, "loop"))
    if until in ("sr_low", "sr_high") and s.low_factor > 1:
        calls.append(NetworkCall("sr_low", factor, f"low_factor={s.low_factor}"))
    if until == "sr_high" and s.high_factor > 1:
        calls.append(NetworkCall("sr_high", factor, f"high_factor={s.high_factor}"))
    return calls


def output_fps(kind: type[ClipRequest], sampling: Sampling, until: Until = "sr_high") -> int:
    """Return the frame rate of a request's clip relative to the request's fps: `Sampling.skip` after interpolation."""
    return sampling.skip if kind.first == "decoder" and until != "decoder" else 1


def check_request(
    kind: type[ClipRequest], fps: Iterable[float], loop: bool, cascade: Cascade, sampling: Sampling, until: Until
) -> None:
    """Check that a cascade can serve requests, before any input is read or anything is computed.

    Args:
        kind: Class of the requests.
        fps: Their frame rates, frames per second.
        loop: `ClipRequest.loop`.
        cascade: The networks.
        sampling: Settings of the pipeline.
        until: Last network that runs.

    Raises:
        UserError: If a network is missing, or an fps is outside the range that the networks were trained for.
    """
    members, ranges = cascade.members, dict[Role, tuple[float, float]]()
    for role, factor, purpose in network_calls(kind, loop, sampling, check(until, Until, "until")):
        required(members.get(role), role, purpose)
        if role == "interpolator" and kind is not InterpolateRequest and sampling.frames < 3:
            raise UserError(f"{purpose}: needs a pipeline of 3 or more frames, this one has {sampling.frames}.")
        trained = members[role].fps
        if trained is not None and role != "sr_high":  # frame by frame, at any rate
            ranges[role] = trained[0] / factor, trained[1] / factor
    for rate in fps:
        check(rate, PositiveFloat, "fps")
        for role, (low, high) in ranges.items():
            if not low <= rate <= high:
                low, high = max(one[0] for one in ranges.values()), min(one[1] for one in ranges.values())
                raise UserError(
                    f"{rate:g} frames per second is outside the trained range of `{role}`; choose {low:g} to {high:g}.",
                    argument="fps",
                )


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
