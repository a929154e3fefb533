"""Damage in the slices of H.264 that FFmpeg's decoder does not report.

Nearly any bits of an arithmetic-coded slice decode to some picture, so damage shows only where the slice ends. FFmpeg
stops at the last macroblock of the picture, whether the slice ends there or not. Of a picture that is declared one row
of macroblocks taller, it decodes on to the end of the slice: an intact slice leaves the added row empty, which FFmpeg
conceals and marks; a damaged one ends elsewhere.
"""

from typing import Any

import av

from mav_lightning.media.h264_headers import resets_references, taller_header, taller_packet
from mav_lightning.media.limits import MediaError

__all__ = ["SliceEnds"]


class SliceEnds:
    """Detects damaged slices by their ends, with a second decoder whose header declares taller pictures.

    Damage changes one picture: what is parsed of a slice depends on no other. Files whose pictures all fail the check
    come from an encoder that ends slices in another way; they pass. So do those whose errors have other reasons, such
    as references that were cut away.

    Args:
        codec: Decoder of the video.
        name: Name of the file, for the message.
    """

    def __init__(self, codec: Any, name: str) -> None:
        self._name, self._intact, self._is_damaged, self._believes_errors = name, False, False, True
        self._original = codec.extradata or b""
        header = taller_header(self._original) if codec.name == "h264" else None
        self._decoder = None if header is None else _strict_decoder(header)
        self._length_size = (header[4] & 3) + 1 if header and header[0] == 1 else 0
        self._since: list[tuple[Any, Any]] | None = None  # packets since the one that resets all references

    def start(self) -> None:
        """Prepare for a key frame."""
        self._since, self._is_damaged = None, False
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
        data = b"" if packet is None else bytes(packet)
        if resets_references(data, self._length_size):
            self._since = []
        if self._since is not None:
            self._since.append((packet, skip_frame))
        self._decoder.skip_frame = skip_frame
        try:
            found = [frame.is_corrupt for frame in self._decoder.decode(self._taller(packet, data))]
        except av.FFmpegError:
            self._believes_errors = self._believes_errors and self._is_decoded_as_declared()
            found = [False] if self._believes_errors else []
        self._intact |= any(found)
        self._is_damaged |= not all(found)
        if self._intact and self._is_damaged:
            raise MediaError(f"{self._name}: a frame is damaged; re-encode or remove the file.")

    def _is_decoded_as_declared(self) -> bool:
        """Decode the latest packets at the height that the file declares; return whether that succeeds."""
        if self._since is None:
            return False
        decoder = _strict_decoder(self._original)
        try:
            for packet, skip_frame in self._since:
                decoder.skip_frame = skip_frame
                decoder.decode(packet)
        except av.FFmpegError:
            return False
        return True

    def _taller(self, packet: Any, data: bytes) -> Any:
        changed = taller_packet(data, self._length_size)
        if changed is None:
            return packet
        taller = av.Packet(changed)
        taller.pts, taller.dts, taller.time_base = packet.pts, packet.dts, packet.time_base
        taller.is_keyframe = packet.is_keyframe
        return taller


def _strict_decoder(header: bytes) -> Any:
    """Return a decoder that raises for errors in slices."""
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.extradata, decoder.thread_count = header, 1
    decoder.options = {"err_detect": "crccheck+explode", "skip_loop_filter": "all"}
    return decoder
