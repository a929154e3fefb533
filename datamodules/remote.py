"""Opening of shards that arrive as streams: local files, web servers, and stores through fsspec.

A web server is met at an address that was checked: its name is resolved once, addresses inside of this machine and of
private networks are refused unless allowed, and the connection goes to that very address. Redirects to other hosts are
refused unless allowed. Size, time and silence are bounded.
"""

import ipaddress
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import fsspec
import urllib3

from datamodules.shard_urls import STORES, is_http, scheme_of, shown_url
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.shards.tar_members import ByteStream

__all__ = ["StreamLimits", "check_hosts", "open_shard"]

_REDIRECTS = 5
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # statuses of servers that may answer later


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Limits on what a server of remote shards may send, and from where.

    Attributes:
        private: Whether addresses of this machine and of private networks are allowed.
        redirects: Hosts that a server may redirect to, besides itself.
        max_bytes: Largest size of a shard.
        max_seconds: Longest time spent waiting for the data of one shard.
        silence: Longest time without any data.
    """

    private: bool = False
    redirects: tuple[str, ...] = ()
    max_bytes: PositiveInt = 64 << 30
    max_seconds: PositiveFloat = 3600.0
    silence: PositiveFloat = 60.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self)


@contextmanager
def open_shard(url: str, limits: StreamLimits) -> Iterator[tuple[ByteStream, int | None]]:
    """Open a shard and yield its stream and, for a local file, its size.

    Raises:
        OSError: The connection fails, also while the stream is read; another attempt may succeed.
        UserError: There is no such shard, it exceeds a limit, the address is not allowed, or a package is missing.
    """
    if not scheme_of(url):
        with open(url, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
        return
    source = _ask(url, limits) if is_http(url) else _open_store(url)
    stream = _Limited(source, shown_url(url), limits)
    try:
        yield stream, None
    finally:
        stream.close()


def check_hosts(urls: list[str], limits: StreamLimits) -> None:
    """Resolve each host of a list of shards once, before anything is read.

    Raises:
        UserError: A host has no allowed address.
        OSError: A host cannot be resolved.
    """
    servers = {url.partition("//")[2].partition("/")[0]: url for url in urls if is_http(url)}
    for parts in map(urlsplit, servers.values()):
        if _proxy(parts) is None:
            _address(parts.hostname or "", parts.port or 443, limits)


class _Limited:
    """A remote stream within its limits, whose errors are those of a file."""

    def __init__(self, source: Any, name: str, limits: StreamLimits) -> None:
        self._source, self._name, self._limits = source, name, limits
        self._bytes, self._seconds = 0, 0.0

    def read(self, size: int, /) -> bytes:
        begun = time.monotonic()
        try:
            data: bytes = self._source.read(size)
        except Exception as error:  # of whatever package a store uses
            raise _as_os_error(error, self._name) from error
        self._seconds += time.monotonic() - begun
        self._bytes += len(data)
        _check_size(self._name, self._bytes, self._limits)
        if (most := self._limits.max_seconds) < self._seconds:
            raise UserError(f"{self._name}: not complete after {most:g} s; split it, or raise max_seconds.")
        return data

    def close(self) -> None:
        try:
            self._source.close()
        except Exception:  # noqa: S110  # what was read is used or not regardless
            pass


def _ask(url: str, limits: StreamLimits) -> Any:
    """Request a shard, following allowed redirects, and return the response."""
    first = urlsplit(url)
    allowed = {(first.hostname or "").lower(), *(host.lower() for host in limits.redirects)}
    for _ in range(_REDIRECTS + 1):
        parts = urlsplit(url)
        response = _get(parts, limits, first)
        if response.status == 200:
            length = response.headers.get("Content-Length", "")
            if length.isdigit() and len(length) < 20:
                _check_size(shown_url(url), int(length), limits)
            return response
        response.close()
        if response.status in _BUSY:
            raise OSError(f"the server answered {response.status}")
        if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
            raise UserError(f"{shown_url(url)}: the server answered {response.status}; check the address.")
        url = urljoin(url, response.headers["Location"])
        _check_redirect(parts, urlsplit(url), allowed)
    raise UserError(f"{shown_url(first.geturl())}: more than {_REDIRECTS} redirects; use the final address.")


def _check_size(name: str, size: int, limits: StreamLimits) -> None:
    if size > limits.max_bytes:
        raise UserError(f"{name}: more than {limits.max_bytes} bytes; split it, or raise max_bytes.")


def _check_redirect(before: SplitResult, after: SplitResult, allowed: set[str]) -> None:
    host = (after.hostname or "").lower()
    if after.scheme not in ("http", "https") or before.scheme == "https" and after.scheme == "http":
        raise UserError(
            f"{shown_url(before.geturl())}: redirects to `{after.scheme}:`, which is not followed; use the final "
            "address."
        )
    if host not in allowed:
        raise UserError(
            f"{shown_url(before.geturl())}: redirects to the host {host}, which is not followed; if it is known to be "
            f"right, add it: redirects=({host!r},)."
        )


def _get(parts: SplitResult, limits: StreamLimits, first: SplitResult) -> urllib3.BaseHTTPResponse:
    """Send one request to the pinned address of a host."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    headers = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity", "User-Agent": "mav-lightning"}
    if first.username is not None and (host, secure) == (first.hostname, first.scheme == "https"):
        headers |= urllib3.make_headers(basic_auth=f"{first.username}:{first.password or ''}")
    timeout = urllib3.Timeout(connect=limits.silence, read=limits.silence)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    try:
        if (proxy := _proxy(parts)) is not None:  # it resolves the name itself
            manager = urllib3.ProxyManager(proxy, timeout=timeout, retries=False)
            where = f"{parts.scheme}://{headers['Host']}{target}"
            return manager.request("GET", where, headers=headers, redirect=False, preload_content=False)
        address = _address(host, port, limits)
        pool = (
            urllib3.HTTPSConnectionPool(address, port, server_hostname=host, assert_hostname=host)
            if secure
            else urllib3.HTTPConnectionPool(address, port)
        )
        return pool.urlopen(
            "GET", target, headers=headers, redirect=False, retries=False, timeout=timeout, preload_content=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise OSError(str(error)) from error


def _address(host: str, port: int, limits: StreamLimits) -> str:
    """Return an allowed address of a host."""
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError as error:
        raise UserError(f"`{host}` is not a valid host name ({error}); check the address.") from error
    for address in found:
        if limits.private or _is_public(address):
            return address
    raise UserError(
        f"{host}: its address {found[0]} is private or local, from where shards are not fetched; if it is "
        "your own server, allow it: private=True."
    )


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inner = (parsed.ipv4_mapped or parsed.sixtofour) if isinstance(parsed, ipaddress.IPv6Address) else None
    return (inner or parsed).is_global and not parsed.is_multicast


def _proxy(parts: SplitResult) -> str | None:
    """Return the proxy that the environment sets for a host. None if there is none."""
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _open_store(url: str) -> Any:
    try:
        return fsspec.open(url, "rb").open()
    except ImportError as error:
        package = STORES[scheme_of(url)]
        raise UserError(f"{shown_url(url)}: needs the package {package}; run `pip install {package}`.") from error
    except Exception as error:  # of whatever package a store uses
        raise _as_os_error(error, shown_url(url)) from error


def _as_os_error(error: Exception, name: str) -> Exception:
    """Return an error of a store or a connection as that of a file, which is retried, unless it will last."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return UserError(f"{name}: cannot be opened ({error}); check the address and your credentials.")
    return error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
