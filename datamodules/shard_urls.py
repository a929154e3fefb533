"""Addresses of shards: brace patterns, and which kinds of addresses are read."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import braceexpand

from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import one_line, shorten
from mav_lightning.shards.shard_listing import shard_paths

__all__ = ["STORES", "is_http", "scheme_of", "shard_urls", "shown_url"]

# Scheme → package that opens it through fsspec, with the credentials that it finds.
STORES = {
    "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "hf": "huggingface_hub",
}  # fmt: skip
_MOST = 1_000_000  # addresses of a pattern
_LONGEST = 10_000  # characters of a pattern
_MOST_TEXT = 200_000_000  # characters of all addresses together, at most
_DEEPEST = 20  # levels of braces
_RANGE = re.compile(
    r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?"
)  # digits of any script, as braceexpand has it


def shard_urls(source: str | Path) -> list[str]:
    """Return the shards of a local folder, or of a brace pattern such as ``https://host/{00000..00099}.tar``.

    Raises:
        UserError: There are no shards, the pattern is malformed or stands for more than a million of them, or the
            scheme is not allowed; above all `pipe:` would run a shell.
    """
    if isinstance(source, Path):
        urls = [str(path) for path in shard_paths(source)]
        if not urls:
            raise UserError(f"{source}: holds no .tar shards; write some with `mav data pack` or `mav data shapes`.")
    else:
        urls = _expanded(source)
    for url in urls:
        _check(url)
    return urls


def scheme_of(url: str) -> str:
    """Return the scheme of an address in lower case; empty for a local path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
    return found[1].lower() if found else ""


def is_http(url: str) -> bool:
    """Return whether an address is one of the web."""
    return scheme_of(url) in ("http", "https")


def shown_url(url: str) -> str:
    """Return an address for messages, without the password and the signature that it may hold."""
    if not is_http(url):
        return shorten(url)
    parts = urlsplit(url)
    return shorten(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _check(url: str) -> None:
    scheme = scheme_of(url)
    if scheme not in ("", "http", "https", *STORES) or scheme in STORES and "::" in url:
        raise UserError(
            f"{shorten(url)}: shards are read from local paths, http, https and {', '.join(STORES)}, not "
            f"`{'chains of stores' if scheme in STORES else f'{scheme}:'}`; download or mount them."
        )
    if not url or one_line(url) != url:
        raise UserError(f"`{shorten(url)}` is not the address of a shard; write {{00000..00099}}.tar.")
    if is_http(url):
        try:
            host, _ = urlsplit(url).hostname, urlsplit(url).port
        except ValueError as error:
            raise UserError(f"`{shorten(url)}` is not the address of a shard ({error}).") from error
        if not host:
            raise UserError(f"`{shorten(url)}` names no host; write https://host/{{00000..00099}}.tar.")


def _expanded(pattern: str) -> list[str]:
    """Expand braces, after counting what they stand for."""
    if len(pattern) > _LONGEST:
        raise UserError(f"the pattern of shards has {len(pattern)} characters, more than {_LONGEST}; shorten it.")
    try:
        count, rest = _count(pattern, 0, 0)
        if rest != len(pattern):
            raise ValueError("a brace is closed that was not opened")
        if count > _MOST:
            raise UserError(f"`{shorten(pattern)}` stands for more than {_MOST:,} shards; correct the range.")
        if count * len(pattern) > _MOST_TEXT:
            raise UserError(f"`{shorten(pattern)}` stands for {count:,} long addresses; use a shorter path.")
        return list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise UserError(
            f"`{shorten(pattern)}` is not a pattern of shards ({error}); write {{00000..00099}}.tar."
        ) from error


def _count(pattern: str, at: int, depth: int) -> tuple[int, int]:
    """Return how many texts a part of a pattern stands for, and where the part ends: at its closing brace, if any."""
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} levels of braces")
    total, product, start = 0, 1, at
    while at < len(pattern) and not (pattern[at] == "}" and depth):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "{":
            inner, at = _count(pattern, at + 1, depth + 1)
            if at >= len(pattern):
                raise ValueError("a brace is not closed")
            product *= inner
        elif pattern[at] == "}":
            return 0, at
        elif pattern[at] == "," and depth:
            total, product = total + product, 1
        at += 1
    if depth and (span := _RANGE.fullmatch(pattern[start:at])):
        first, last, step = (_value(end or "1") for end in span.groups())
        return abs(last - first) // abs(step or 1) + 1, at
    return total + product, at


def _value(end: str) -> int:
    return ord(end) if end.isalpha() else int(end[:30])
