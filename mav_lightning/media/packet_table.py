"""What the packets of a video stream present: which frames, when, and from where each one can be decoded.

The table is made from all packets of the file. Headers are not believed: they may name a wrong rate, length or number
of frames, or none.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from mav_lightning.media.container import OpenVideo
from mav_lightning.media.ffv1_slices import damaged_packets, has_valid_slices
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.timeline import Timeline, timeline_of

__all__ = ["PacketTable", "identity_of", "is_end", "read_table"]

# Codecs of which any packet can be decoded alone.
_INTRA_ONLY = frozenset(
    ("mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "dvvideo")
)
_VOP = b"\x00\x00\x01\xb6"  # start of a picture of MPEG-4 part 2
_B_PICTURE = 2  # its type if it is stored after a picture that is shown later
_READ_AHEAD = 3  # packets, by which FFmpeg's mark of damage may come early
_NOT_CODED = 10  # bytes; a smaller picture in AVI repeats the previous one

Identity = tuple[Any, ...]


@dataclass
class _Packet:
    """One packet.

    Attributes:
        identity: What tells it from the others.
        pts: When it is shown, in ticks, or None.
        dts: When it is decoded, in ticks, or None.
        is_key: Whether decoding can begin here.
        is_corrupt: Whether the container marks it as damaged, or a checksum in it differs.
        pictures: Number of frames that it shows.
        reorders: Whether it holds a picture of AVI that is shown before the previous one.
    """

    identity: Identity
    pts: int | None
    dts: int | None
    is_key: bool
    is_corrupt: bool
    pictures: int
    reorders: bool


@dataclass(frozen=True)
class PacketTable:
    """The frames that a video presents, and the packets they are decoded from.

    Attributes:
        packet_of: Number of the packet of each presented frame, packets counted from 0 in the order of the file. Where
            frames are stored in an order that only decoding reveals, the last packet.
        ticks: Time stamp of each presented frame, non-decreasing.
        timeline: Times in seconds.
        pts: Time stamp of every packet; None if it has none. Decoded frames inherit them.
        keys: Packets at which decoding can begin, ascending, at least one.
        in_order: Whether decoded frames are the presented ones one after the other, and time stamps mean nothing.
        identities: Identity of each packet, see `identity_of`; used to check where a seek ended.
    """

    packet_of: tuple[int, ...]
    ticks: tuple[int, ...]
    timeline: Timeline
    pts: tuple[int | None, ...]
    keys: tuple[int, ...]
    in_order: bool
    identities: tuple[Identity, ...]

    @cached_property
    def number_of(self) -> dict[Identity, int]:
        """Identity → number of the packet; empty if two packets are alike."""
        found = {identity: number for number, identity in enumerate(self.identities)}
        return found if len(found) == len(self.identities) else {}

    def key_before(self, number: int) -> int:
        """Return the latest packet from which a presented frame can be decoded.

        A frame that is stored after a key frame but shown before it depends on the key frame before that.
        """
        for key in reversed(self.keys[: bisect_right(self.keys, self.packet_of[number])]):
            pts = self.pts[key]
            if self.in_order or pts is None or pts <= self.ticks[number]:
                return key
        return self.keys[0]

    def frame_of(self, tick: int | None, after: int) -> int | None:
        """Return the first presented frame after the frame `after` with a given time stamp, or None."""
        if tick is None:
            return None
        number = max(bisect_left(self.ticks, tick), after + 1)
        return number if number < len(self.ticks) and self.ticks[number] == tick else None


def identity_of(packet: Any) -> Identity:
    """Return values that identify a packet among the others of its stream."""
    return packet.pos, packet.pts, packet.dts, packet.size


def is_end(packet: Any) -> bool:
    """Return whether a packet is the empty one by which PyAV marks the end of a stream."""
    return packet.dts is None and packet.pts is None and not packet.size


def read_table(video: OpenVideo, limits: MediaLimits) -> PacketTable:
    """Read all packets of a video.

    Raises:
        MediaError: There is no frame, there are too many, or the file is cut off or damaged.
    """
    codec, is_avi = video.stream.codec_context.codec.canonical_name, video.container.format.name == "avi"
    found: list[_Packet] = []
    intact: list[bool] = []
    for packet in video.container.demux(video.stream):
        if is_end(packet):
            continue
        video.deadline.check()
        pictures, reorders = _pictures(packet, codec, is_avi)
        found.append(_Packet(
            identity_of(packet), packet.pts, packet.dts, packet.is_keyframe, packet.is_corrupt, pictures, reorders
        ))  # fmt: skip
        limits.check_frames(video.name, len(found))
        if codec == "ffv1":
            intact.append(has_valid_slices(bytes(packet)))
    for number in damaged_packets(intact):
        found[number].is_corrupt = True
    _check_complete(video, len(found))
    first = next((number for number, packet in enumerate(found) if packet.is_key), 0)
    return (_counted if is_avi else _timed)(video, found, first)


def _timed(video: OpenVideo, found: Sequence[_Packet], first: int) -> PacketTable:
    """Order the frames by their time stamps. What precedes the first key frame, in either order, cannot be decoded."""
    pts = _without_jumps(found)
    begin, start = (pts[first] if found else None), first + 1
    while start < len(found) and (tick := pts[start]) is not None and begin is not None and tick < begin:
        start += 1  # pictures of an open GOP that depend on what was before
    shown = sorted(
        (tick, number)
        for number, (packet, tick) in enumerate(zip(found, pts, strict=True))
        if (number == first or number >= start) and packet.pictures and tick is not None
    )
    if shown and begin is not None and shown[0][0] < begin and found[first].pictures:
        raise MediaError(f"{video.name}: its time stamps are out of order; re-encode or remove the file.")
    keys = tuple(number for number, packet in enumerate(found) if packet.is_key)
    return _table(video, found, [number for _, number in shown], [tick for tick, _ in shown], pts, keys or (first,))


def _counted(video: OpenVideo, found: Sequence[_Packet], first: int) -> PacketTable:
    """Order the frames of an AVI, which stores no time stamps: packets follow at equal intervals.

    Where no picture is shown before an earlier one, a packet's number is its time; a packet without a picture repeats
    the previous one. Otherwise frames are counted as they are decoded, from the start of the file.
    """
    shown = [number for number, packet in enumerate(found) if number >= first and packet.pictures]
    if any(packet.reorders or packet.pictures > 1 for packet in found):
        # DivX packs two pictures into one packet and a placeholder into the next; a packet gives one frame at most.
        count = min(sum(found[number].pictures for number in shown), len(found) - first)
        last, ticks = [len(found) - 1] * count, list(range(count))
        return _table(video, found, last, ticks, [None] * len(found), (first,), in_order=True)
    pts = [packet.dts if packet.dts is not None else number for number, packet in enumerate(found)]
    keys = tuple(number for number, packet in enumerate(found) if packet.is_key)
    return _table(video, found, shown, [pts[number] for number in shown], list(pts), keys or (first,))


def _table(
    video: OpenVideo, found: Sequence[_Packet], packets: list[int], ticks: list[int], pts: list[int | None],
    keys: tuple[int, ...], in_order: bool = False,
) -> PacketTable:  # fmt: skip
    if not packets:
        raise MediaError(f"{video.name}: holds no video frames; remove the file.")
    if any(found[number].is_corrupt for number in packets):
        raise MediaError(f"{video.name}: packets are damaged; re-encode or remove the file.")
    stream = video.stream
    rates = [rate and Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)]
    return PacketTable(
        tuple(packets), tuple(ticks), timeline_of(ticks, stream.time_base, rates), tuple(pts), keys, in_order,
        tuple(packet.identity for packet in found),
    )  # fmt: skip


def _check_complete(video: OpenVideo, packets: int) -> None:
    """Compare with the index of MP4 and QuickTime, which lists every packet; other formats list some or none."""
    listed = len(video.stream.index_entries) if video.container.format.name.startswith("mov") else 0
    if packets < listed:
        raise MediaError(
            f"{video.name}: lists {listed} frames, but holds {packets}: cut off; fetch it again, or remove the file."
        )


def _without_jumps(found: Sequence[_Packet]) -> list[int | None]:
    """Return time stamps that run on where a new part of joined files begins again from a lower one.

    The packets before such a joint are complete. In transport streams, one of them is marked as damaged, as the counter
    of the stream's packets jumps too.
    """
    shift, latest, previous, pts = 0, 0, None, list[int | None]()
    for number, packet in enumerate(found):
        if packet.is_key and packet.dts is not None and previous is not None and packet.dts < previous:
            for before in found[max(number - _READ_AHEAD, 0) : number]:
                before.is_corrupt = False
            shift = latest + 1 - (packet.dts if packet.pts is None else packet.pts)
        previous = packet.dts if packet.dts is not None else previous
        pts.append(None if packet.pts is None else packet.pts + shift)
        latest = max(latest, pts[-1] or latest)
    return pts


def _pictures(packet: Any, codec: str, is_avi: bool) -> tuple[int, bool]:
    """Return how many frames a packet shows, and whether one of them is shown before an earlier one of AVI."""
    if packet.is_discard or not packet.size:  # outside the part of the film that an edit list shows
        return 0, False
    if codec == "vp8":  # reference frames that are never shown have packets of their own
        return int(bool(bytes(packet)[0] & 0x10)), False
    if not is_avi or codec in _INTRA_ONLY:
        return 1, False
    if codec != "mpeg4":
        return int(packet.size > _NOT_CODED), True
    data = bytes(packet)
    types = [after[0] >> 6 for after in data.split(_VOP)[1:] if after]
    return (len(types) if packet.size > _NOT_CODED else 0), _B_PICTURE in types
