"""Shards from servers that cut, stall, redirect and lie: whole samples only, or one message."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shard_server import Request, ShardServer
from streamed import ALL, HERE, samples

from datamodules import remote
from datamodules.datamodule import ImageData
from datamodules.remote import StreamLimits, check_hosts
from mav_lightning.common import retries
from mav_lightning.common.errors import UserError

MakeShard = Callable[..., Path]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    with ShardServer() as running:
        yield running


def whole(data: bytes) -> Callable[[Request], None]:
    return lambda request: request.answer(data)


def cut(data: bytes, after: int) -> Callable[[Request], None]:
    """States the whole length and sends a part."""
    return lambda request: request.answer(data[:after], length=len(data))


def test_a_shard_is_read_as_it_arrives(server: ShardServer, shard: bytes) -> None:
    found, bad = samples(server.put("/0.tar", whole(shard)))

    assert set(found) == ALL and not bad


@pytest.mark.parametrize("workers", [0, 1])
def test_training_data_comes_from_a_pattern_of_addresses(server: ShardServer, shard: bytes, workers: int) -> None:
    for number in range(2):
        server.put(f"/{number}.tar", whole(shard))
    root = f"http://127.0.0.1:{server.server_port}/{{0..1}}.tar"

    data = ImageData(root, 4, 4, reader="streaming", limits=HERE, workers=workers)
    data.setup("fit")

    assert next(iter(data.train_dataloader())).pixels.shape == (4, 3, 4, 4)


@pytest.mark.parametrize("after", [0, 100, 512, 700, 1536, 2048, 5000, 9728])
def test_a_connection_that_breaks_is_tried_again_and_every_sample_comes_once(
    server: ShardServer, shard: bytes, after: int
) -> None:
    found, bad = samples(server.put("/0.tar", cut(shard, after), cut(shard, after // 2), whole(shard)), batches=3)

    assert sorted(found, key=lambda name: int(name.split(":")[0])) == sorted(
        ALL, key=lambda name: int(name.split(":")[0])
    )
    assert not bad


@pytest.mark.parametrize("after", [0, 700, 5000])
def test_a_connection_that_always_breaks_stops_with_the_address(server: ShardServer, shard: bytes, after: int) -> None:
    url = server.put("/0.tar", cut(shard, after))

    with pytest.raises(UserError, match=rf"{url}: cannot be read after 3 attempts \(.*\)\. Samples are not skipped"):
        samples(url)
    assert len(server.asked) == 3


@pytest.mark.parametrize("after", [1024, 1536, 2048, 3072, 5000, 512 * 9])
def test_a_shard_that_is_cut_on_the_server_gives_its_whole_samples_only(
    server: ShardServer, shard: bytes, make_shard: MakeShard, png: bytes, after: int
) -> None:
    other = make_shard([("0.png", png), ("0.txt", b"second"), ("1.txt", b"second"), ("1.png", png)], "b").read_bytes()

    found, bad = samples(server.put("/0.tar", whole(shard[:after])), server.put("/1.tar", whole(other)), batches=12)

    complete = (after - 1) // 2048  # the last one may be incomplete
    assert set(found) == {f"{number}:{number}" for number in range(complete)} | {"0:second", "1:second"}
    assert any("the shard breaks off: " in reason for reason in bad.values())


def test_a_length_that_is_too_short_cuts_the_shard(server: ShardServer, shard: bytes) -> None:
    found, bad = samples(server.put("/0.tar", lambda request: request.answer(shard, length=5000)))

    assert set(found) == {"0:0", "1:1"}
    assert all("the shard breaks off" in reason for reason in bad.values())


def test_a_shard_that_changes_between_attempts_is_not_stitched(
    server: ShardServer, shard: bytes, make_shard: MakeShard, png: bytes
) -> None:
    other = make_shard([("x.png", png), ("x.txt", b"x")], "b").read_bytes()

    found, bad = samples(server.put("/0.tar", cut(shard, 5000), whole(other), whole(shard)))

    assert set(found) >= {"0:0", "1:1"} and not any("x" in name for name in found)
    assert any("has changed between two attempts" in reason for reason in bad.values())


def test_a_server_that_falls_silent_is_tried_again(server: ShardServer, shard: bytes) -> None:
    def stall(request: Request) -> None:
        request.answer(shard[:3000], length=len(shard))
        server.hold.wait(5)

    found, bad = samples(server.put("/0.tar", stall, whole(shard)), batches=3)

    assert set(found) == ALL and not bad


def test_a_server_that_never_answers_stops_with_the_address(server: ShardServer) -> None:
    url = server.put("/0.tar", lambda request: server.hold.wait(5))

    with pytest.raises(UserError, match=rf"{url}: cannot be read after 3 attempts"):
        samples(url)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_tried_again(server: ShardServer, shard: bytes, status: int) -> None:
    found, _ = samples(
        server.put("/0.tar", lambda request: request.answer(b"", status=status), whole(shard)), batches=3
    )

    assert set(found) == ALL


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 403, 404, 410, 451])
def test_a_server_that_refuses_stops_with_its_answer(server: ShardServer, status: int) -> None:
    url = server.put("/0.tar", lambda request: request.answer(b"", status=status))

    with pytest.raises(UserError, match=rf"{url}: the server answered {status}; check the address"):
        samples(url)
    assert len(server.asked) == 1


def test_a_page_in_place_of_a_shard_is_named(server: ShardServer) -> None:
    url = server.put("/0.tar", whole(b"<html>please log in</html>" * 100))

    with pytest.raises(UserError, match="3 bad samples in a row: .*a web page, not a tar; fetch"):
        samples(url, max_bad=3)


@pytest.mark.parametrize("stated", [True, False])
def test_a_shard_that_is_too_large_is_refused(server: ShardServer, shard: bytes, stated: bool) -> None:
    def answer(request: Request) -> None:
        if stated:
            return request.answer(shard, length=1 << 50)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(shard)

    limits = StreamLimits(private=True, max_bytes=3000)
    with pytest.raises(UserError, match=r"0\.tar: more than 3000 bytes; split it, or raise max_bytes"):
        samples(server.put("/0.tar", answer), limits=limits, batches=100)


def test_a_server_that_trickles_is_refused(server: ShardServer, shard: bytes) -> None:
    def trickle(request: Request) -> None:
        request.answer(shard[:600], length=len(shard))
        for place in range(600, len(shard), 8):
            if server.hold.wait(0.02):
                return
            request.wfile.write(shard[place : place + 8])

    limits = StreamLimits(private=True, max_seconds=0.2)
    with pytest.raises(UserError, match=r"0\.tar: not complete after 0\.2 s; split it, or raise max_seconds"):
        samples(server.put("/0.tar", trickle), limits=limits)


def redirect(to: str, status: int = 302) -> Callable[[Request], None]:
    return lambda request: request.answer(b"", status=status, Location=to)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_within_a_host_are_followed(server: ShardServer, shard: bytes, status: int) -> None:
    server.put("/real.tar", whole(shard))

    found, _ = samples(server.put("/0.tar", redirect("/real.tar?signature=1", status)), batches=3)

    assert set(found) == ALL
    assert server.asked[1][0] == "/real.tar?signature=1"


def test_redirects_to_other_hosts_are_followed_only_where_allowed(server: ShardServer, shard: bytes) -> None:
    server.put("/real.tar", whole(shard))
    elsewhere = f"http://localhost:{server.server_port}/real.tar"
    url = server.put("/0.tar", redirect(elsewhere)).replace("http://", "http://me:secret@")

    with pytest.raises(
        UserError, match=r"redirects to the host localhost, which is not followed; .*redirects=\('localh"
    ):
        samples(url)
    allowed = StreamLimits(private=True, redirects=("localhost",))
    assert set(samples(url, limits=allowed, batches=3)[0]) == ALL
    assert server.asked[-2][2] == "Basic bWU6c2VjcmV0"  # given to the host it was meant for
    assert server.asked[-1][1:] == (f"localhost:{server.server_port}", None)


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/0.tar", "file:///etc/passwd", "pipe:ls", "gopher://127.0.0.1/"])
def test_redirects_to_other_kinds_of_addresses_are_not_followed(server: ShardServer, to: str) -> None:
    with pytest.raises(UserError, match=rf"redirects to `{to.partition(':')[0]}:`, which is not followed"):
        samples(server.put("/0.tar", redirect(to)))


def test_redirects_that_go_round_end(server: ShardServer) -> None:
    with pytest.raises(UserError, match="more than 5 redirects"):
        samples(server.put("/0.tar", redirect("/0.tar")))
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1",
     "fd00::1", "::ffff:10.0.0.1", "2002:0a00:0001::", "224.0.0.1", "::", "240.0.0.1"],
)  # fmt: skip
def test_private_addresses_are_refused_before_anything_is_read(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 0))])
    monkeypatch.setattr(remote, "_get", lambda *_: pytest.fail("connected"))

    with pytest.raises(UserError, match=rf"inside\.example: its address {address} is private .*allow it: private=True"):
        ImageData("https://inside.example/{0..1}.tar", 4, 4, reader="streaming").setup("fit")
    check_hosts(["https://inside.example/0.tar"], StreamLimits(private=True))


def test_the_connection_goes_to_the_address_that_was_checked(
    server: ShardServer, shard: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that is public when it is checked and private when it is used again.
    answers = iter(["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (next(answers), 0))])
    url = server.put("/0.tar", whole(shard)).replace("127.0.0.1", "rebinding.example")

    with pytest.raises(UserError, match=r"rebinding\.example: its address 127\.0\.0\.1 is private"):
        samples(url, limits=StreamLimits())
    assert not server.asked


def test_a_redirect_into_the_private_network_is_refused(monkeypatch: pytest.MonkeyPatch, server: ShardServer) -> None:
    url = server.put("/0.tar", redirect(f"http://metadata.example:{server.server_port}/latest"))
    local = "127.0.0.1"

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        address = "169.254.169.254" if host == "metadata.example" else local
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(remote, "_is_public", lambda address: address == local)
    with pytest.raises(UserError, match=r"metadata\.example: its address 169\.254\.169\.254 is private"):
        samples(url, limits=StreamLimits(redirects=("metadata.example",)))


def test_a_host_that_is_not_known_is_one_message(monkeypatch: pytest.MonkeyPatch, server: ShardServer) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="hosts of the shards: cannot be read after 3 attempts .Name or service"):
        samples("https://nowhere.example/0.tar")


def test_a_proxy_of_the_environment_is_used(server: ShardServer, shard: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.put("http://far.example/0.tar", whole(shard))

    found, _ = samples("http://far.example/0.tar", limits=StreamLimits(), batches=3)

    assert set(found) == ALL


def test_limits_have_no_effect_on_the_indexed_reader(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="limits: have no effect on the indexed reader; use reader=streaming or None"):
        ImageData(tmp_path, 4, 4, limits=StreamLimits())
