"""Damage in the slices of H.264 that FFmpeg's decoder does not report.

Nearly any bits of an arithmetic-coded slice decode to some picture, so damage shows only where the slice ends. FFmpeg
stops at the last macroblock of the picture, whether the slice ends there or not. Of a picture that is declared one row
of macroblocks taller, it decodes on to the end of the slice: an intact slice leaves the added row empty, which FFmpeg
conceals and marks; a damaged one ends elsewhere.
"""

from typing import Any

import av

from mav_lightning.media.h264_headers import taller_header, taller_packet
from mav_lightning.media.limits import MediaError

__all__ = ["SliceEnds"]


class SliceEnds:
    """Check of the ends of slices, by a second decoder that sees taller pictures.

    Damage changes one picture: what is parsed of a slice depends on no other. Files whose pictures all fail the check
    come from an encoder that ends slices in another way; they pass.

    Args:
        codec: Decoder of the video.
        name: Name of the file, for the message.
    """

    def __init__(self, codec: Any, name: str) -> None:
        self._name, self._intact, self._is_damaged = name, False, False
        header = taller_header(codec.extradata or b"") if codec.name == "h264" else None
        self._decoder: Any = None
        if header is not None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.extradata, self._decoder.thread_count = header, 1
            self._decoder.options = {"err_detect": "crccheck+explode", "skip_loop_filter": "all"}
            self._length_size = (header[4] & 3) + 1 if header[0] == 1 else 0

    def start(self) -> None:
        """Prepare for a key frame."""
        if self._decoder is not None and self._decoder.is_open:
            self._decoder.flush_buffers()

    def check(self, packet: Any, skip_frame: Any = "DEFAULT") -> None:
        """Check the pictures that become complete with a packet.

        Args:
            packet: The next packet. None ends a run of packets.
            skip_frame: Pictures that are passed over; see `av.VideoCodecContext`.

        Raises:
            MediaError: A slice is damaged.
        """
        if self._decoder is None:
            return
        self._decoder.skip_frame = skip_frame
        try:
            found = [frame.is_corrupt for frame in self._decoder.decode(self._taller(packet))]
        except av.FFmpegError:
            found = [False]
        self._intact |= any(found)
        self._is_damaged |= not all(found)
        if self._intact and self._is_damaged:
            raise MediaError(f"{self._name}: a frame is damaged; re-encode or remove the file.")

    def _taller(self, packet: Any) -> Any:
        data = None if packet is None else taller_packet(bytes(packet), self._length_size)
        if data is None:
            return packet
        changed = av.Packet(data)
        changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
        changed.is_keyframe = packet.is_keyframe
        return changed
