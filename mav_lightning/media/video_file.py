"""Videos in containers: the frames that a player presents, decoded from the nearest key frame."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, repeat
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from mav_lightning.media.container import OpenVideo
from mav_lightning.media.h264_slices import SliceEnds
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.orientation import UPRIGHT, display_matrix, displayed_width, orientation_of
from mav_lightning.media.packet_table import identity_of, is_end, read_table
from mav_lightning.media.pictures import on_white

__all__ = ["VideoFile"]

_MOST_STRETCHED = 8  # times; a larger aspect ratio of pixels is damage
# Codecs whose decoders can pass over pictures that no other picture depends on, which leaves all others as they are.
_CAN_SKIP = frozenset(("h264", "mpeg4", "mpeg2video", "mpeg1video"))


class VideoFile:
    """A video that is read frame by frame; see `mav_lightning.media.media_reader.FrameSource`.

    Args:
        video: The opened container.
        limits: Limits on the number and size of frames.

    Raises:
        MediaError: The video holds no frames, exceeds a limit, or is cut off or damaged.
    """

    def __init__(self, video: OpenVideo, limits: MediaLimits) -> None:
        self._video, self._limits = video, limits
        self._table = read_table(video, limits)
        self._converter = VideoReformatter()
        self._ends = None if video.is_verified else SliceEnds(video.decoder, video.name)
        self.name, self.timeline = video.name, self._table.timeline

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames as displayed, from the first frame."""
        height, width = next(self.frames([0])).shape[:2]
        return width, height

    def frames(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Decode frames, shape (H, W, 3) each, by their numbers in non-decreasing order; repeats are converted once."""
        repeats, shape = Counter(numbers), None
        for number, frame in self._wanted(sorted(repeats)):
            pixels = self._displayed(frame)
            if shape not in (None, pixels.shape):
                raise MediaError(f"{self.name}: the frames differ in size; re-encode or remove the file.")
            shape = pixels.shape
            self._video.deadline.extend()
            yield from repeat(pixels, repeats[number])

    def _wanted(self, numbers: list[int]) -> Iterator[tuple[int, Any]]:
        """Decode frames by ascending numbers, in runs that begin at the nearest key frame."""
        table, runs, last = self._table, list[list[int]](), -1
        for number in numbers:
            if not runs or table.key_before(number) > last + 1:
                runs.append([])
            runs[-1].append(number)
            last = max(last, table.packet_of[number])
        for run in runs:
            yield from self._run(deque(run))
            if self._ends is not None:
                self._ends.check(None)

    def _run(self, expected: deque[int]) -> Iterator[tuple[int, Any]]:
        """Decode frames from the key frame before the first; from the start if a key frame does not do."""
        starts = list(dict.fromkeys((self._table.key_before(expected[0]), self._table.keys[0])))
        for start in starts:
            try:
                for number, frame in self._decoded(start, expected):
                    if number == expected[0]:
                        yield expected.popleft(), frame
                    if not expected:
                        return
            except (av.FFmpegError, MediaError):
                if start == starts[-1]:
                    raise
        raise MediaError(
            f"{self.name}: frame {expected[0]} of {len(self.timeline)} is missing; re-encode or remove the file."
        )

    def _decoded(self, start: int, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield presented frames with their numbers, from a key packet to the last packet that the numbers need."""
        table, latest = self._table, -1
        needed = {table.packet_of[number] for number in numbers}
        if self._video.decoder.is_open:
            self._video.decoder.flush_buffers()
        if self._ends is not None:
            self._ends.start()
        for number, packet in self._packets(start, max(needed)):
            codec = self._video.decoder  # another one if the file had to be opened again
            if codec.name in _CAN_SKIP and not table.in_order:
                codec.skip_frame = "DEFAULT" if number in needed else "NONREF"
            if self._ends is not None and packet is not None:
                self._ends.check(packet, codec.skip_frame)
            for frame in codec.decode(packet):
                self._video.deadline.check()
                if frame.is_corrupt:
                    raise MediaError(f"{self.name}: a frame is damaged; re-encode or remove the file.")
                found = latest + 1 if table.in_order else table.frame_of(frame.pts, latest)
                if found is not None:
                    latest = found
                    yield found, frame

    def _packets(self, start: int, last: int) -> Iterator[tuple[int, Any]]:
        """Yield the packets from a key packet to the last one, and None, which makes the decoder give what it holds.

        Packets that precede the key packet when shown depend on others before it; they are left out.
        """
        table, begin = self._table, self._table.pts[start]
        for number, packet in self._from(start):
            pts = table.pts[number]
            if not table.in_order:
                if number > start and pts is not None and begin is not None and pts < begin:
                    continue
                packet.pts = pts
            yield number, packet
            if number == last:
                break
        yield last, None

    def _from(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield packets with their numbers from `start` on; if a seek does not end at a known packet before, reread."""
        packets = self._stream_packets()
        first = next(packets, None) if self._seeks(start) else None
        number = None if first is None else self._table.number_of.get(identity_of(first))
        if number is None or number > start:
            self._video.reopen()
            packets = self._stream_packets()
            first, number = next(packets, None), 0
        if first is not None:
            yield from (
                (place, packet) for place, packet in enumerate(chain([first], packets), number) if place >= start
            )

    def _seeks(self, start: int) -> bool:
        """Seek to a packet; return False where the demuxer cannot, as at negative times in Matroska."""
        pts, dts = self._table.identities[start][1:3]
        try:
            self._video.container.seek(dts if dts is not None else pts or 0, stream=self._video.stream)
        except av.FFmpegError:
            return False
        return True

    def _stream_packets(self) -> Iterator[Any]:
        for packet in self._video.container.demux(self._video.stream):
            self._video.deadline.check()
            if not is_end(packet):
                yield packet

    def _displayed(self, frame: Any) -> NDArray[np.uint8]:
        """Convert a frame to RGB as it is displayed: pixels square, turned and mirrored as the file describes."""
        width = displayed_width(frame.width, self._video.stream.sample_aspect_ratio)
        if not 1 / _MOST_STRETCHED <= width / frame.width <= _MOST_STRETCHED:
            raise MediaError(f"{self.name}: {frame.width} pixels are to be displayed as {width}; re-encode the file.")
        self._limits.check_size(self.name, width, frame.height)
        scaled = None if width == frame.width else width
        # One thread: FFmpeg's own choice starts threads for each frame, which takes longer than a small frame.
        kind = "rgba" if any(component.is_alpha for component in frame.format.components) else "rgb24"
        pixels: Any = self._converter.reformat(frame, width=scaled, format=kind, threads=1).to_ndarray()
        if kind == "rgba":
            pixels = np.asarray(on_white(Image.fromarray(pixels)))
        matrix = display_matrix(frame)
        turned = UPRIGHT if matrix is None else orientation_of(matrix)
        if turned is None:
            raise MediaError(
                f"{self.name}: is to be displayed turned by another angle than 90, 180 or 270 degrees; re-encode it."
            )
        return turned.apply(pixels)
