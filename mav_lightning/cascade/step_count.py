"""How many sampler steps requests take, to show progress."""

from collections.abc import Sequence

from mav_lightning.cascade.clip_requests import (
    ClipRequest,
    ExtrapolateRequest,
    FramesRequest,
    InterpolateRequest,
    PrecedeRequest,
    SuperResolveRequest,
)
from mav_lightning.cascade.network_calls import Until, network_calls, output_fps
from mav_lightning.cascade.sampling import Sampling

__all__ = ["denoising_steps", "frame_count"]


def denoising_steps(requests: Sequence[ClipRequest], sampling: Sampling, until: Until = "sr_high") -> int:
    """Count the sampler steps of one batch, over all networks and clips.

    The decoder samples all clips of the batch at once; the other networks sample one clip after the other, and spatial
    super-resolution one chunk of frames after the other. Frames that close a loop and are drawn again do not count.

    Args:
        requests: At most `Sampling.batch_size` requests of one class.
        sampling: Settings of the pipeline.
        until: Last network to run.
    """
    steps = 0
    for call in network_calls(type(requests[0]), requests[0].loop, sampling, until):
        if call.role == "decoder":
            steps += sampling.steps
        elif call.role == "sr_high" and sampling.shared_noise:
            chunks = sum(-(-frame_count(request, sampling, until) // sampling.chunk) for request in requests)
            steps += chunks * sampling.super_resolution_steps
        else:
            own = sampling.super_resolution_steps if call.role in ("sr_low", "sr_high") else sampling.steps
            steps += len(requests) * own
    return steps


def frame_count(request: ClipRequest, sampling: Sampling, until: Until = "sr_high") -> int:
    """Return the number of frames of the clip that a request gives.

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
