"""Downloads of weights, through a stub that opens no connection."""

import io
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, Request, build_opener
from urllib.response import addinfourl

import pytest

from evaluation.weight_downloads import HTTPSRedirects, fetch_weights
from evaluation.weight_files import Weights, WeightsFile
from mav_lightning.common.errors import UserError

# What `printf 'hello\n' | git hash-object --stdin` and `| sha256sum` print.
HELLO = b"hello\n"
HELLO_BLOB = "ce013625030ba8dba906f756967f9e9ca394464a"
HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


def one(name: str = "a.pt", **facts: Any) -> Weights:
    file = WeightsFile(name, **{"url": f"https://x.org/{name}"} | facts)
    return Weights(name, "a network", "a friend", None, (file,))


def several() -> Weights:
    files = (
        WeightsFile("config.json", "https://x.org/config.json"),
        WeightsFile("a.safetensors", "https://x.org/a.safetensors", HELLO_SHA256),
        WeightsFile("a.bin", "https://x.org/a.bin", instead_of="a.safetensors"),
    )
    return Weights("us/net", "a network", "a friend", None, files)


class Stub:
    """Opens addresses without a network; `answers` maps each to its bytes, a response, or an error."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[str]()

    def open(self, request: Request, timeout: float) -> Any:
        self.asked.append(request.full_url)
        answer = self.answers[request.full_url]
        if isinstance(answer, Exception):
            raise answer
        return response(request.full_url, answer) if isinstance(answer, bytes) else answer


def response(url: str, content: bytes, code: int = 200, headers: dict[str, str] | None = None) -> addinfourl:
    message = Message()
    for key, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
        message[key] = value
    found = addinfourl(io.BytesIO(content), message, url, code)
    found.msg = "told"  # type: ignore[attr-defined]
    return found


def stub(answers: dict[str, Any]) -> Any:
    return Stub(answers)


def test_the_right_bytes_get_their_name(tmp_path: Path) -> None:
    fetched = fetch_weights(
        one(sha256=HELLO_SHA256, git_blob=HELLO_BLOB, bytes=6),
        tmp_path / "new",
        opener=stub({"https://x.org/a.pt": HELLO}),
    )

    assert fetched == {tmp_path / "new" / "a.pt": HELLO_SHA256}
    assert (tmp_path / "new" / "a.pt").read_bytes() == HELLO
    assert len(list((tmp_path / "new").iterdir())) == 1


BROKEN = {
    "other bytes": (b"hallo\n", r"the file that came has sha256 \w{64}, not 5891\w+; it was not kept\. Other"),
    "a longer file": (b"hello\n\n", "announces 7 bytes, more than the 6 expected"),
    "an unannounced longer file": (
        response("https://x.org/a.pt", b"hello\n\n", headers={"Content-Length": ""}),
        "gives more than the 6 bytes expected",
    ),
    "half a file": (response("https://x.org/a.pt", b"hel", 200, {"Content-Length": "6"}), "ended after 3 of 6"),
    "a web page": (
        response("https://x.org/a.pt", HELLO, headers={"Content-Type": "text/html; charset=utf-8"}),
        "returned a web page instead of a file; open it in a browser",
    ),
    "no such page": (HTTPError("https://x.org/a.pt", 404, "Not Found", Message(), None), "failed .*404: Not Found"),
    "no network": (URLError("no route to host"), r"failed \(<urlopen error no route to host>\); try again"),
    "a silent server": (TimeoutError("timed out"), r"the download failed \(timed out\)"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "message"), BROKEN.values(), ids=list(BROKEN))
def test_what_is_not_the_file_leaves_nothing_behind(tmp_path: Path, answer: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^https://x\.org/a\.pt: .*{message}"):
        fetch_weights(one(sha256=HELLO_SHA256, bytes=6), tmp_path, opener=stub({"https://x.org/a.pt": answer}))

    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise ConnectionResetError("connection reset by peer")
            return super().read(3)

    answer = addinfourl(Breaking(HELLO), Message(), "https://x.org/a.pt", 200)
    with pytest.raises(UserError, match=r"a\.pt: the download failed \(connection reset by peer\); try again"):
        fetch_weights(one(), tmp_path, opener=stub({"https://x.org/a.pt": answer}))

    assert list(tmp_path.iterdir()) == []


def test_a_failed_fetch_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"older\n")

    with pytest.raises(UserError, match="not kept"):
        fetch_weights(one(sha256=HELLO_SHA256), tmp_path, opener=stub({"https://x.org/a.pt": b"wrong\n"}))

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older\n"]


def test_only_what_is_lacking_or_wrong_is_fetched(tmp_path: Path) -> None:
    answers = {"https://x.org/config.json": b"{}", "https://x.org/a.safetensors": HELLO}
    home = tmp_path / "us" / "net"

    opener = stub(answers)
    assert list(fetch_weights(several(), tmp_path, opener=opener)) == [home / "config.json", home / "a.safetensors"]
    assert fetch_weights(several(), tmp_path, opener=opener) == {}
    assert opener.asked == list(answers)

    (home / "a.safetensors").write_bytes(b"damaged")
    assert fetch_weights(several(), tmp_path, opener=opener) == {home / "a.safetensors": HELLO_SHA256}


def test_another_version_of_a_file_is_enough(tmp_path: Path) -> None:
    home = tmp_path / "us" / "net"
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"anything")
    weights = several()

    assert [file.name for file in weights.missing(tmp_path)] == ["config.json"]
    fetched = fetch_weights(weights, tmp_path, opener=stub({"https://x.org/config.json": b"{}"}))

    assert list(fetched) == [home / "config.json"]
    assert weights.missing(tmp_path) == []


def test_weights_without_an_address_are_for_hands(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"^`a\.pt`: no URL is known for a\.pt; download it manually \(a friend\) and store it as /.*/a\.pt\.$",
    ):
        fetch_weights(one(url=None), tmp_path, opener=stub({}))


def test_progress_counts_mebibytes(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def track(items: Iterable[bytes], total: int, description: str) -> Iterator[bytes]:
        sizes = []
        for item in items:
            sizes.append(len(item))
            yield item
        seen.append((len(sizes), total, description))

    content = bytes(5 << 19)  # 2.5 MiB
    fetch_weights(one(), tmp_path, track, opener=stub({"https://x.org/a.pt": content}))

    assert seen == [(3, 3, "a.pt, MiB")]
    assert (tmp_path / "a.pt").read_bytes() == content


class Hops(BaseHandler):
    """Stands where the network would be: each address sends on to the next, the last gives the bytes."""

    handler_order = 1

    def __init__(self, hops: dict[str, str]) -> None:
        self.hops = hops

    def https_open(self, request: Request) -> addinfourl:
        url = request.full_url
        if url in self.hops:
            return response(url, b"", 302, {"Location": self.hops[url]})
        return response(url, HELLO)

    def http_open(self, request: Request) -> addinfourl:
        raise AssertionError(f"opened {request.full_url}")


def test_redirections_are_followed_to_https_alone(tmp_path: Path) -> None:
    def fetched(last: str) -> Callable[[], dict[Path, str]]:
        hops = {"https://x.org/a.pt": "https://y.org/b", "https://y.org/b": last}
        opener = build_opener(HTTPSRedirects, Hops(hops))
        return lambda: fetch_weights(one(sha256=HELLO_SHA256), tmp_path, opener=opener)

    with pytest.raises(UserError, match=r"a\.pt: the download failed .*sent on to http://z\.org/c, which is not https"):
        fetched("http://z.org/c")()
    assert list(tmp_path.iterdir()) == []
    assert fetched("https://z.org/c")() == {tmp_path / "a.pt": HELLO_SHA256}
