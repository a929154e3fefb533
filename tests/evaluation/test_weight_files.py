"""Weights that the user brings: hashes, the catalogue, and downloads through a stub that opens no connection."""

import hashlib
import io
import subprocess
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, Request, build_opener
from urllib.response import addinfourl

import pytest

from evaluation.weight_downloads import HTTPSRedirects, fetch_weights
from evaluation.weight_files import (
    Weights,
    WeightsFile,
    check_weights,
    file_hashes,
    find_weights,
    known_weights,
    weights_folder,
)
from mav_lightning.common.errors import UserError

# What `printf 'hello\n' | git hash-object --stdin` and `| sha256sum` print.
HELLO = b"hello\n"
HELLO_BLOB = "ce013625030ba8dba906f756967f9e9ca394464a"
HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.pt"
    path.write_bytes(HELLO)
    return path


def test_hashes_are_those_that_sha256sum_and_git_print(hello: Path) -> None:
    assert file_hashes(hello) == (HELLO_SHA256, HELLO_BLOB)


def test_a_large_file_hashes_as_in_one_piece(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at once
    (tmp_path / "large").write_bytes(content)

    found = file_hashes(tmp_path / "large")

    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.git_blob == hashlib.sha1(b"blob 2560000\0" + content).hexdigest()


def test_git_gives_the_same_id(hello: Path) -> None:
    try:
        told = subprocess.run(["git", "hash-object", str(hello)], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here")

    assert told.strip() == HELLO_BLOB


@pytest.mark.parametrize("git_blob", [None, HELLO_BLOB])
@pytest.mark.parametrize("sha256", [None, HELLO_SHA256])
def test_the_right_file_gives_its_sha256(hello: Path, sha256: str | None, git_blob: str | None) -> None:
    assert check_weights(hello, sha256, git_blob) == HELLO_SHA256


def test_an_altered_file_is_told_by_both_hashes(hello: Path) -> None:
    hello.write_bytes(b"hello!\n")
    found = file_hashes(hello)

    with pytest.raises(UserError, match=rf"hello\.pt: has sha256 {found.sha256}, not {HELLO_SHA256}; get the file"):
        check_weights(hello, HELLO_SHA256, HELLO_BLOB)
    with pytest.raises(UserError, match=rf"hello\.pt: is git blob {found.git_blob}, not {HELLO_BLOB}; get the"):
        check_weights(hello, git_blob=HELLO_BLOB)


def test_one_right_hash_does_not_excuse_a_wrong_one(hello: Path) -> None:
    with pytest.raises(UserError, match="is git blob"):
        check_weights(hello, HELLO_SHA256, "0" * 40)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pt: no such file; `mav weights list` shows known weights"):
        check_weights(tmp_path / "none.pt", HELLO_SHA256)


@pytest.mark.parametrize(
    ("sha256", "git_blob", "message"),
    [
        (HELLO_SHA256[:63], None, "a sha256 is 64 hexadecimal digits, in lower case; got '5891"),
        (HELLO_SHA256.upper(), None, "a sha256 is 64 hexadecimal digits"),
        (None, HELLO_BLOB[:8], "a git_blob is 40 hexadecimal digits, as `git hash-object FILE` prints them"),
        (None, "model.pt", "a git_blob is 40 hexadecimal digits"),
    ],
)
def test_a_hash_that_is_none_is_refused(hello: Path, sha256: str | None, git_blob: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_weights(hello, sha256, git_blob)


def test_weights_lie_where_told_else_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MAV_WEIGHTS", "~/weights")
    assert weights_folder(Path("given")) == Path("given")
    assert weights_folder() == Path("/home/me/weights")
    for unset in ("", None):
        monkeypatch.delenv("MAV_WEIGHTS", raising=False)
        if unset is not None:
            monkeypatch.setenv("MAV_WEIGHTS", unset)
        assert weights_folder() == Path("/home/me/.cache/mav-lightning/weights")


def test_the_catalogue_knows_what_the_protocols_of_the_field_need() -> None:
    known = known_weights()

    assert list(known) == [
        "i3d_torchscript.pt", "i3d_pretrained_400.pt", "rgb_imagenet.pt", "model_rgb.pth", "inception-2015-12-05.pt",
        "c3d_ucf101.pt", "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16",
        "openai/clip-vit-large-patch14", "facebook/vjepa2-vitl-fpc16-256-ssv2",
        "MCG-NJU/videomae-base-finetuned-ssv2", "facebook/dino-vitb16", "alexnet-owt-7be5be79.pth",
    ]  # fmt: skip
    assert [name for name, weights in known.items() if not all(file.pinned for file in weights.files)] == [
        "c3d_ucf101.pt",
        "facebook/vjepa2-vitl-fpc16-256-ssv2",
        "MCG-NJU/videomae-base-finetuned-ssv2",
        "facebook/dino-vitb16",
        "alexnet-owt-7be5be79.pth",
    ]
    for name, weights in known.items():
        assert weights.name == name
        assert all(file.url and file.url.startswith("https://") for file in weights.files)


def test_each_clip_has_all_that_it_needs() -> None:
    for name in ("base-patch32", "base-patch16", "large-patch14"):
        weights = find_weights(f"openai/clip-vit-{name}")
        needed = {file.name for file in weights.files if file.instead_of is None}

        assert needed >= {"config.json", "preprocessor_config.json", "tokenizer.json", "vocab.json", "merges.txt"}
        assert len(needed & {"model.safetensors", "pytorch_model.bin"}) == 1
        assert weights.path(weights.files[0], Path("w")) == Path(f"w/openai/clip-vit-{name}/config.json")


def test_unknown_weights_are_told_apart() -> None:
    with pytest.raises(UserError, match=r"`i3d_torchscrpt\.pt`; known are .*Did you mean `i3d_torchscript\.pt`"):
        find_weights("i3d_torchscrpt.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]", "must hold `key: value` pairs"),
        ("a: [", "not a readable YAML file"),
        ("a.pt: {what: x, where: y}", "files: is missing"),
        ("a.pt: {what: x, where: y, lisence: z, files: {a.pt: {}}}", "no argument `lisence`.*Did you mean `licence`"),
        ("a.pt: {what: 3, where: y, files: {a.pt: {}}}", r"a\.pt\.what: must be text, got 3"),
        ("a.pt: {what: x, where: y, files: {}}", r"`a\.pt` must have one file of its own name"),
        ("a.pt: {what: x, where: y, files: {a.pt: {}, b.pt: {}}}", r"must have one file of its own name, or files"),
        ("a.pt: {what: x, where: y, files: {a.pt: {sha: 1}}}", "no argument `sha`.*Did you mean `sha256`"),
        (
            "a.pt: {what: x, where: y, files: {a.pt: {git_blob: 12345678}}}",
            r"git_blob: must be text or null, got 1",
        ),
        (
            "a.pt: {what: x, where: y, files: {a.pt: {bytes: big}}}",
            r"bytes: must be a whole number.*got 'big'",
        ),
        ("a.pt: {what: x, where: y, base: 'http://x/', files: {a.pt: {}}}", "begins with https://; got http://x/a.pt"),
        ("../a.pt: {what: x, where: y, files: {b.pt: {}}}", r"`\.\./a\.pt` must be a name inside the folder"),
        ("a: {what: x, where: y, files: {/b.pt: {}}}", "`/b.pt` must be a name inside the folder"),
        ("a: {what: x, where: y, files: {b: {instead_of: c}}}", r"`a\.files\.b\.instead_of` names `c`, no file of it"),
    ],
)
def test_a_catalogue_with_a_mistake_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        known_weights(tmp_path / "mine.yaml")


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
    "other bytes": (b"hallo\n", r"the file that came has sha256 \w{64}, not 5891\w+; it was not kept\. Get it"),
    "a longer file": (b"hello\n\n", "announces 7 bytes, more than the 6 expected"),
    "an unannounced longer file": (
        response("https://x.org/a.pt", b"hello\n\n", headers={"Content-Length": ""}),
        "gives more than the 6 bytes expected",
    ),
    "half a file": (response("https://x.org/a.pt", b"hel", 200, {"Content-Length": "6"}), "broke off after 3 of 6"),
    "a web page": (
        response("https://x.org/a.pt", HELLO, headers={"Content-Type": "text/html; charset=utf-8"}),
        "gave a web page, no file; open it in a browser",
    ),
    "no such page": (HTTPError("https://x.org/a.pt", 404, "Not Found", Message(), None), "fetched .*404: Not Found"),
    "no network": (URLError("no route to host"), r"not fetched \(<urlopen error no route to host>\); try again"),
    "a silent server": (TimeoutError("timed out"), r"not fetched \(timed out\)"),
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
    with pytest.raises(UserError, match=r"a\.pt: not fetched \(connection reset by peer\); try again"):
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

    with pytest.raises(UserError, match=r"a\.pt: not fetched .*sent on to http://z\.org/c, which is not https"):
        fetched("http://z.org/c")()
    assert list(tmp_path.iterdir()) == []
    assert fetched("https://z.org/c")() == {tmp_path / "a.pt": HELLO_SHA256}
