"""What a file is by its first bytes, where its name promises something else; for messages."""

__all__ = ["known_as", "posing_as_text"]

# First bytes → what wrote them, and the program that unpacks the file.
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"), b"BZh": ("bzip2", "bunzip2"), b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"), b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
    b"\x02\x21\x4c\x18": ("lz4", "unlz4"), b"\x1f\x9d": ("compress", "uncompress"), b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7z", "7z x"), b"Rar!": ("rar", "unrar"), b"\x5d\x00\x00": ("lzma", "unlzma"),
    b"LZIP": ("lzip", "lzip -d"), b"\x89LZO": ("lzop", "lzop -d"), b"\xff\x06\x00\x00sNaPpY": ("snappy", "snzip -d"),
    **{bytes((first, 0x2A, 0x4D, 0x18)): ("zstd", "unzstd") for first in range(0x50, 0x60)},  # frames to be skipped
}  # fmt: skip
_OFFICE = (b"[Content_Types].xml", b"mimetypeapplication/vnd.oasis")  # first file of these archives
_TEXTS = {  # in lower case, white space before them left out
    b"version https://git-lfs": "a Git LFS pointer; fetch the file with `git lfs pull`",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "a web page, SVG image or other XML text",
    b"<svg": "a web page, SVG image or other XML text",
    b"{\\rtf": "a text with formatting (RTF)",
    b"%pdf": "a PDF document",
    b"%!ps": "a PostScript document",
}  # fmt: skip
_OTHERS = {
    b"\x00\x05\x16\x07": "a companion file of macOS (AppleDouble)",
    b"v=0": "a session description (SDP)",
    b"#EXTM3U": "a playlist (HLS)",
    b"ffconcat": "a list of files (ffconcat)",
    b"FLV": "Flash video (FLV)",
    b"\x30\x26\xb2\x75": "Windows Media (ASF)",
    b"OggS": "Ogg",
    b".RMF": "RealMedia",
    b"PAR1": "a Parquet table",
    b"\x89HDF": "an HDF5 file",
    b"BM": "a BMP image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"\x00\x00\x01\xb3": "a raw MPEG stream without a container",
    b"\x00\x00\x00\x01": "a raw H.264 or HEVC stream without a container",
    b"RIFF": "a RIFF file of another kind, such as sound",
    b"ID3": "MP3 sound",
    b"{": "JSON text",
    b"[": "JSON text",
    b"<": "a web page or other markup",
}


def known_as(head: bytes) -> str | None:
    """Return the kind of file that begins with these bytes, or None if it is unknown."""
    if head.startswith(b"PK") and any(name in head[:100] for name in _OFFICE):
        return "a spreadsheet or another Office document; export a table as CSV"
    for magic, (kind, tool) in _COMPRESSED.items():
        if head.startswith(magic):
            return f"compressed ({kind}); unpack it with `{tool}`"
    if (text := posing_as_text(head)) is not None:
        return text
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((what for magic, what in _OTHERS.items() if head.startswith(magic) or plain.startswith(magic)), None)


def posing_as_text(head: bytes) -> str | None:
    """Return the kind of a text file that is not a list, table or caption, such as a web page, by its first bytes.

    Downloads that fail leave web pages and pointers in place of the file.
    """
    plain = head[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for magic, what in _TEXTS.items() if plain.startswith(magic)), None)
