"""The closed list of formats: suffixes of files, and what a file is by its first bytes, whatever it is called."""

from typing import Literal, NamedTuple

from mav_lightning.common.signatures import known_as
from mav_lightning.media.limits import MediaError

__all__ = [
    "HEAD_BYTES", "PICTURE_SUFFIXES", "UNREAD_SUFFIXES", "VIDEO_SUFFIXES", "Kind", "MediaFormat", "is_animated",
    "recognize",
]  # fmt: skip

VIDEO_SUFFIXES = (
    "mp4", "avi", "webm", "mkv", "mov", "m4v", "3gp", "mpg", "mpeg", "ts", "mts", "m2ts", "gif", "apng",
)  # fmt: skip
"""Suffixes of videos and animations, in order of preference; `is_animated` finds animations among ``.webp`` files."""
PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
"""Suffixes of images."""
UNREAD_SUFFIXES = frozenset(
    ("flv", "f4v", "wmv", "asf", "ogv", "ogg", "vob", "rm", "rmvb", "y4m", "h264", "264", "hevc", "h265", "265", "ivf",
     "mxf", "m2v", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl", "ppm", "pgm", "exr", "tga", "svg", "eps")
)  # fmt: skip
"""Suffixes of videos and images that are not read."""

HEAD_BYTES = 4096
"""Number of first bytes that `recognize` looks at."""

Kind = Literal["video", "animation", "picture"]


class MediaFormat(NamedTuple):
    """A format that is read.

    Attributes:
        kind: Kind of media. FFmpeg reads videos; Pillow reads animations and pictures.
        library_name: Name of FFmpeg's demuxer or of Pillow's plugin. No other is tried.
    """

    kind: Kind
    library_name: str


_MOV = MediaFormat("video", "mov")
_TS = MediaFormat("video", "mpegts")
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx", b"uuid")
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"jp2 ", b"jxl ", b"crx ")


def recognize(head: bytes, name: str, *, pictures_only: bool = False) -> MediaFormat:
    """Return the format of a file.

    Args:
        head: First `HEAD_BYTES` bytes of the file, or all if there are fewer.
        name: Name of the file, for the message.
        pictures_only: If True, only JPEG, PNG and WebP are accepted.

    Raises:
        MediaError: It is of no format that is read. The message names what it is if that is known.
    """
    found = _by_signature(head)
    if pictures_only and (found is None or found.library_name not in ("JPEG", "PNG", "WEBP")):
        what = _described(head) if found is None else f"{found.library_name} {found.kind}"
        raise MediaError(f"{name}: not a readable JPEG, PNG or WebP ({what}); replace or remove the image.")
    if found is None:
        raise MediaError(
            f"{name}: cannot be decoded ({_described(head)}, not MP4, QuickTime, Matroska, WebM, AVI, MPEG, GIF, PNG, "
            "WebP or JPEG); re-encode or remove the file."
        )
    return found


def is_animated(head: bytes) -> bool:
    """Return whether the first `HEAD_BYTES` bytes are of an animated GIF, WebP or PNG."""
    found = _by_signature(head)
    return found is not None and found.kind == "animation"


def _by_signature(head: bytes) -> MediaFormat | None:  # noqa: C901  # a table of signatures, some at other places
    if head[4:8] in _MOV_BOXES:
        return None if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS else _MOV
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return MediaFormat("video", "matroska")
    if head.startswith(b"RIFF") and head[8:11] == b"AVI":
        return MediaFormat("video", "avi")
    if head.startswith(b"\x00\x00\x01\xba"):
        return MediaFormat("video", "mpeg")
    if _is_transport_stream(head):
        return _TS
    if head.startswith((b"GIF87a", b"GIF89a")):
        return MediaFormat("animation", "GIF")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaFormat("animation" if b"acTL" in head[: head.find(b"IDAT") % len(head)] else "picture", "PNG")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return MediaFormat(
            "animation" if head[12:16] == b"VP8X" and head[20:21] and head[20] & 2 else "picture", "WEBP"
        )
    return MediaFormat("picture", "JPEG") if head.startswith(b"\xff\xd8\xff") else None


def _is_transport_stream(head: bytes) -> bool:
    """Look for the synchronization byte of three packets of 188 bytes, or of 192 with a time stamp before each."""
    return any(
        len(head) > first + step and set(head[first : first + 3 * step : step]) == {0x47}
        for first, step in ((0, 188), (4, 192))
    )


def _described(head: bytes) -> str:
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return "an AVIF, HEIC or JPEG 2000 image"
    return known_as(head) or "of an unknown format"
