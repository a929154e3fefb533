"""Bytes of tars, header by header."""

import io
import tarfile
from collections.abc import Mapping, Sequence

__all__ = ["END", "block", "header", "member", "pax", "tar"]

END = bytes(1024)


def header(name: bytes, size: bytes | int, kind: bytes = b"0") -> bytes:
    """A header of 512 bytes with a valid checksum; `size` may be a field's raw bytes."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    head = bytearray(512)
    head[: len(name)] = name
    head[100:124] = b"0000644\0" + b"0000000\0" * 2
    head[124:136] = field.ljust(12, b"\0")
    head[136:148] = b"00000000000\0"
    head[156:157] = kind
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + block(data)


def pax(records: Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header with records ``<length> <key>=<value>``."""
    data = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + len(str(len(rest) + 2))
        data += str(length).encode() + rest
    return header(b"PaxHeader", len(data), kind) + block(data)


def tar(members: Sequence[tuple[str, bytes]], layout: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
