"""Opening of video files with FFmpeg: local bytes only, a format named beforehand, and the stream that players show."""

import io
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.stream import Disposition

from mav_lightning.common.machine_faults import is_disk_fault, unreadable
from mav_lightning.common.terminal import visible
from mav_lightning.media.formats import HEAD_BYTES, MediaFormat, recognize
from mav_lightning.media.limits import Deadline, MediaError, MediaLimits
from mav_lightning.media.matroska_size import check_matroska
from mav_lightning.media.mp4_tables import check_mp4

__all__ = ["MediaFile", "OpenVideo", "Source", "open_file", "readable_tags", "source_name"]

Source = bytes | Path
"""Encoded bytes, or the path of a file with them. A path is opened here and is never a URL, an option or a script."""

_DECODERS = (
    "h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "libvpx", "libvpx-vp9", "mpeg4", "msmpeg4v1", "msmpeg4v2",
    "msmpeg4", "h263", "mpeg1video", "mpeg2video", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "utvideo",
    "rawvideo", "png", "dvvideo", "qtrle", "cinepak",
)  # fmt: skip
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders pass over alpha, which WebM stores beside
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of H.273; shown as they are, such frames are gray and dim
_FEWEST = 1 / 4  # packets of a film, as a fraction of those of the stream with the most
# Since PyAV 19, tags in other encodings than UTF-8 are read like this; before, it is an option.
_TAGS: Mapping[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclass(frozen=True)
class MediaFile:
    """An opened file.

    Attributes:
        name: Name of the source in messages.
        file: The bytes.
        size: Number of bytes.
        format: Format of the bytes.
    """

    name: str
    file: BinaryIO
    size: int
    format: MediaFormat


def source_name(source: Source) -> str:
    """Return a name of a source for messages."""
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else visible(source)


def readable_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as PyAV reads them by their names in lower case; bytes that are not UTF-8 become U+FFFD."""
    return {name.lower(): text.encode(errors="surrogateescape").decode(errors="replace") for name, text in tags.items()}


@contextmanager
def open_file(source: Source, limits: MediaLimits, *, pictures_only: bool = False) -> Iterator[MediaFile]:
    """Open a source and recognize its format by its first bytes.

    Args:
        source: Encoded bytes or a file.
        limits: Limit on the size of the file.
        pictures_only: If True, only images are accepted.

    Raises:
        MediaError: There is no such regular file, it is too large, or it is of no format that is read.
        MachineError: The disk fails, or too many files are open.
    """
    name = source_name(source)
    if isinstance(source, bytes):
        limits.check_file(name, len(source))
        yield MediaFile(
            name, io.BytesIO(source), len(source), recognize(source[:HEAD_BYTES], name, pictures_only=pictures_only)
        )
        return
    try:
        found = source.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for a writer
            raise MediaError(f"{name}: not a regular file; give a video or image.")
        limits.check_file(name, found.st_size)
        opened = source.open("rb")
    except OSError as error:
        if is_disk_fault(error):
            raise unreadable(source, error) from error
        raise MediaError(f"{name}: cannot be opened ({error.strerror}).") from error
    except ValueError as error:  # a NUL or half of a character
        raise MediaError(f"{name}: cannot be the name of a file.") from error
    with opened as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        yield MediaFile(name, file, found.st_size, recognize(head, name, pictures_only=pictures_only))


class OpenVideo:
    """The video stream of a file, whose packets can be read; used as a context manager.

    Only the recognized demuxer and a closed list of decoders are used, and nothing but the file is read. Damage is an
    error, where FFmpeg by itself conceals it.

    Args:
        file: The file.
        limits: Limits on frame size and time.
        is_verified: Whether the bytes have been compared with a checksum.

    Attributes:
        name: Name of the source in messages.
        is_verified: Whether the bytes have been compared with a checksum, of the caller's or in the file.
        container: PyAV's container.
        stream: The video stream.
        decoder: PyAV's decoder of the stream.
        deadline: When reading stops.

    Raises:
        MediaError: The file is unreadable or damaged, has no video stream, or exceeds a limit. FFmpeg's errors within
            the context become a `MediaError` that names the file.
    """

    def __init__(self, file: MediaFile, limits: MediaLimits, *, is_verified: bool = False) -> None:
        self._file, self._limits, self.name, self.is_verified = file, limits, file.name, is_verified
        self._film: int | None = None  # number of the stream, once it is chosen
        self.deadline = Deadline(file.name, limits.seconds)
        if file.format.library_name == "mov":
            self.is_verified |= check_mp4(file.file, file.size, file.name)
        if file.format.library_name == "matroska":
            check_matroska(file.file, file.size, file.name)

    def __enter__(self) -> "OpenVideo":
        try:
            self.reopen()
        except av.FFmpegError as error:
            raise self._error(error) from error
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.container.close()
        if isinstance(error, av.FFmpegError):
            raise self._error(error) from error

    def reopen(self) -> None:
        """Open the container, again from the beginning if it was open."""
        self.container: Any = self._opened()
        try:
            if self._film is None:
                self._film = self._choice()
            self.stream: Any = _readable(self.container.streams[self._film], self.name)
            codec = self.stream.codec_context
            self._limits.check_size(self.name, codec.width, codec.height)
            self.decoder: Any = codec
            tags = readable_tags(self.stream.metadata)
            if tags.get("alpha_mode") == "1" and codec.codec.canonical_name in _WITH_ALPHA:
                self.decoder = av.CodecContext.create(_WITH_ALPHA[codec.codec.canonical_name], "r")
                self.decoder.extradata, self.decoder.thread_count = codec.extradata, 1
                self.decoder.options = {"max_pixels": str(self._limits.pixels)}
        except MediaError:
            self.container.close()
            raise

    def _opened(self) -> Any:
        self._file.file.seek(0)
        return av.open(
            _Watched(self._file.file, self.deadline), format=self._file.format.library_name, io_open=_refuse,
            **_TAGS, options={
                "err_detect": "crccheck+explode", "max_pixels": str(self._limits.pixels),
                "codec_whitelist": ",".join(_DECODERS), "format_whitelist": self._file.format.library_name,
            },
        )  # fmt: skip

    def _choice(self) -> int:
        """Return the number of the stream that FFmpeg and players choose; covers, thumbnails and stills are none."""
        films = [stream for stream in self.container.streams.video if not stream.disposition & _NO_FILM]
        if not films:
            found = "only a cover picture" if self.container.streams.video else "no video stream"
            raise MediaError(f"{self.name}: {found}; remove the file.")
        if len(films) > 1:
            moving = self._moving({stream.index for stream in films})
            films = [stream for stream in films if stream.index in moving] or films
        best = self.container.streams.best("video")
        return int((best if best in films else films[0]).index)

    def _moving(self, streams: set[int]) -> set[int]:
        """Return the streams that hold a film, by their packets: headers of many containers name no number of frames.

        A few pictures beside a film are its thumbnails or chapters.
        """
        found = Counter[int]()
        with self._opened() as container:
            for packet in container.demux(*(container.streams[number] for number in sorted(streams))):
                self.deadline.check()
                found[packet.stream.index] += packet.size > 0
        most = max(found.values(), default=0)
        return {number for number in streams if found[number] > 1 and found[number] >= _FEWEST * most}

    def _error(self, error: Exception) -> MediaError:
        return MediaError(f"{self.name}: cannot be decoded ({error}); re-encode or remove the file.")


def _readable(stream: Any, name: str) -> Any:
    """Return a stream whose codec is read, set up for decoding."""
    codec = stream.codec_context
    if codec is None or codec.codec.name not in _DECODERS:
        known = "unknown to FFmpeg" if codec is None else codec.codec.name
        raise MediaError(f"{name}: its codec is not read ({known}); re-encode it as H.264 or remove the file.")
    if codec.color_trc in _HDR:
        raise MediaError(
            f"{name}: is HDR video ({_HDR[codec.color_trc]}); convert it to SDR (BT.709) or remove the file."
        )
    stream.thread_type = "SLICE"  # frame threads can deadlock where decoding stops early
    codec.thread_count = 1
    return stream


def _refuse(url: str, flags: int, options: Any) -> Any:
    raise MediaError(f"{visible(url)}: another file is referred to; media must be complete in one file.")


class _Watched:
    """A file for FFmpeg whose reads end at a deadline, so that a demuxer cannot read for ever.

    After an exception, such as that of the deadline or of Ctrl-C, the file ends: FFmpeg would read on, and PyAV raises
    only the first exception, when FFmpeg returns.
    """

    def __init__(self, file: BinaryIO, deadline: Deadline) -> None:
        self._file, self._deadline, self._ended = file, deadline, False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if self._ended:
            return b""
        try:
            self._deadline.check()
            return self._file.read(size)
        except BaseException:
            self._ended = True
            raise

    def seekable(self) -> bool:
        return True
