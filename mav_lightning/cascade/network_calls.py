"""The networks that a request runs, and the check that a cascade has them.

Light on purpose: the command line checks requests before it imports torch.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from mav_lightning.cascade.clip_requests import ClipRequest, InterpolateRequest, TextRequest
from mav_lightning.cascade.roles import Role, missing_network
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, check

__all__ = ["NetworkCall", "Until", "check_request", "embeds_frames", "network_calls", "output_fps"]

Until = Literal["decoder", "interpolator", "sr_low", "sr_high"]


class NetworkCall(NamedTuple):
    """A denoiser that a request runs.

    Attributes:
        role: The denoiser's role.
        fps: Frame rate of the clip that it samples, relative to the fps of the request.
        purpose: Use that needs the network, for messages.
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
        raise UserError(
            f"{option} needs at least the interpolator; use until=`interpolator` or a later network.", argument="until"
        )
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


def embeds_frames(kind: type[ClipRequest], loop: bool, sampling: Sampling, until: Until) -> bool:
    """Return whether a request needs the image encoder, to embed given frames or the frames that close a loop.

    Args:
        kind: Class of the request.
        loop: `ClipRequest.loop`.
        sampling: Settings of the pipeline.
        until: Last network that runs.
    """
    return any(
        (call.role == "decoder" and kind is not TextRequest)
        or (call.role == "interpolator" and (kind is not TextRequest or call.purpose == "loop"))
        for call in network_calls(kind, loop, sampling, until)
    )


def output_fps(kind: type[ClipRequest], sampling: Sampling, until: Until = "sr_high") -> int:
    """Return the frame rate of a request's clip relative to the request's fps: `Sampling.skip` after interpolation."""
    return sampling.skip if kind.first == "decoder" and until != "decoder" else 1


def check_request(
    kind: type[ClipRequest],
    fps: Iterable[float],
    loop: bool,
    rates: Mapping[Role, tuple[float, float] | None],
    sampling: Sampling,
    until: Until = "sr_high",
) -> None:
    """Check that a cascade can serve requests, before any input is read or anything is computed.

    Args:
        kind: Class of the requests.
        fps: Frame rate of each request, frames per second.
        loop: `ClipRequest.loop`.
        rates: Lowest and highest trained frame rate of each network of the cascade, by role; None if unknown.
        sampling: Settings of the pipeline.
        until: Last network that runs.

    Raises:
        UserError: If a network is missing, or an fps is outside the range that the networks were trained for.
    """
    ranges = dict[Role, tuple[float, float]]()
    for role, factor, purpose in network_calls(kind, loop, sampling, check(until, Until, "until")):
        if role not in rates:
            raise missing_network(role, purpose)
        if role == "interpolator" and kind is not InterpolateRequest and sampling.frames < 3:
            raise UserError(f"{purpose}: needs a pipeline of 3 or more frames, this one has {sampling.frames}.")
        trained = rates[role]
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
