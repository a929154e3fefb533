"""How many frames a request's clip has, which of them are given, and how many sampler steps they take."""

from collections.abc import Sequence

from mav_lightning.cascade.clip_requests import (
    ClipRequest,
    ExtrapolateRequest,
    FramesRequest,
    InterpolateRequest,
    MorphRequest,
    PrecedeRequest,
    SuperResolveRequest,
)
from mav_lightning.cascade.network_calls import Until, network_calls, output_fps
from mav_lightning.cascade.sampling import Sampling

__all__ = ["denoising_steps", "frame_count", "given_frames"]


def denoising_steps(requests: Sequence[ClipRequest], sampling: Sampling, until: Until = "sr_high") -> int:
    """Count the sampler steps of one batch, over all networks and clips.

    Each network samples as many clips at once as the settings allow, and spatial super-resolution one chunk of frames
    after the other. Loops are closed and super-resolved clip by clip. Frames that close a loop and are drawn again do
    not count.

    Args:
        requests: At most `Sampling.batch_size` requests of one class, with the same `loop` and number of given frames.
        sampling: Settings of the pipeline.
        until: Last network to run.
    """
    steps, loop = 0, requests[0].loop
    for call in network_calls(type(requests[0]), loop, sampling, until):
        own, at_once = sampling.solver(call.role).steps, sampling.batch_size
        if call.role == "interpolator":
            at_once = 1 if call.purpose == "loop" else sampling.interpolator_batch
        elif call.role in ("sr_low", "sr_high"):
            at_once = 1 if loop else sampling.sr_batch
        if call.role == "sr_high" and sampling.shared_noise:
            own *= -(-frame_count(requests[0], sampling, until) // sampling.chunk)
        steps += -(-len(requests) // at_once) * own
    return steps


def frame_count(request: ClipRequest, sampling: Sampling, until: Until = "sr_high") -> int:
    """Return the number of frames of the clip that a request results in.

    Args:
        request: The request.
        sampling: Settings of the pipeline.
        until: Last network to run.
    """
    known = len(request.frames) if isinstance(request, FramesRequest) else 0
    if request.first == "decoder":
        count = (sampling.frames - 1) * output_fps(type(request), sampling, until) + 1
    elif isinstance(request, ExtrapolateRequest | PrecedeRequest):
        count = known + sampling.frames - min(known, sampling.frames // 2)
    elif isinstance(request, InterpolateRequest):
        count = (known - 1) * sampling.skip + 1
    elif isinstance(request, SuperResolveRequest):
        count = known
    else:
        count = sampling.frames
    return count + (sampling.frames - 2 if request.loop else 0)


def given_frames(request: ClipRequest, sampling: Sampling) -> list[int]:
    """Return the numbers, from 0, of the frames of a clip that are given rather than sampled.

    Args:
        request: The request.
        sampling: Settings of the pipeline.
    """
    if not isinstance(request, FramesRequest) or request.first == "decoder":
        return []
    known = len(request.frames)
    if isinstance(request, MorphRequest):
        return [0, sampling.frames - 1]
    if isinstance(request, PrecedeRequest):
        before = sampling.frames - min(known, sampling.frames // 2)
        return list(range(before, before + known))
    every = sampling.skip if isinstance(request, InterpolateRequest) else 1
    return list(range(0, known * every, every))
