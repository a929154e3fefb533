"""``mav weights``, on a folder of its own and without a network."""

import sys
from pathlib import Path
from typing import Any

import pytest

import evaluation.weight_downloads
import evaluation.weight_files
from evaluation.weight_files import Weights, WeightsFile
from mav_lightning.cli.app import main

HELLO = b"hello\n"
HELLO_BLOB = "ce013625030ba8dba906f756967f9e9ca394464a"
HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
KNOWN = {
    "pinned.pt": Weights(
        "pinned.pt", "a pinned network", "a friend", "MIT",
        (WeightsFile("pinned.pt", "https://x.org/pinned.pt", HELLO_SHA256, HELLO_BLOB),),
    ),
    "free.pt": Weights("free.pt", "an unpinned network", "a friend", None, (WeightsFile("free.pt", "https://x.org/free.pt"),)),
    "us/net": Weights(
        "us/net", "a folder", "a friend", "MIT",
        (WeightsFile("config.json", "https://x.org/config.json"), WeightsFile("net.bin", None)),
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``$MAV_WEIGHTS`` names, with a catalogue of three entries."""
    monkeypatch.setattr(evaluation.weight_files, "known_weights", lambda *given: KNOWN)
    monkeypatch.setenv("MAV_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights" / "us" / "net").mkdir(parents=True)
    return tmp_path / "weights"


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    monkeypatch.setattr(sys, "argv", ["mav", "weights", *words])
    monkeypatch.setenv("COLUMNS", "30")
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out + printed.err


def test_list_tells_what_is_there(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    (folder / "free.pt").write_bytes(HELLO)
    (folder / "us" / "net" / "config.json").write_text("{}")

    code, printed = run(monkeypatch, capsys, "list")

    assert code == 0
    assert f"in {folder}" in printed
    assert "pinned.pt: not present\n  a pinned network\n" in printed
    assert "free.pt: present\n" in printed
    assert "us/net: 1 missing\n" in printed
    assert "license: not stated" in printed
    assert "from: a friend" in printed


def test_list_shows_every_shipped_name_whole_in_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, printed = run(monkeypatch, capsys, "list", "--folder", str(tmp_path))

    for name in evaluation.weight_files.known_weights():
        assert f"{name}: not present\n" in printed


def test_check_says_ok_and_unpinned(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    for name in ("pinned.pt", "free.pt"):
        (folder / name).write_bytes(HELLO)

    code, printed = run(monkeypatch, capsys, "check")

    assert code == 0
    assert f"ok  {folder / 'pinned.pt'}  sha256 {HELLO_SHA256}" in printed
    assert f"unpinned  {folder / 'free.pt'}  sha256 {HELLO_SHA256}" in printed
    assert f"{folder}: 2 files of known weights, 0 differ" in printed


def test_check_exits_with_1_on_an_altered_file(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    (folder / "pinned.pt").write_bytes(b"altered\n")
    (folder / "free.pt").write_bytes(b"altered\n")

    code, printed = run(monkeypatch, capsys, "check")

    assert code == 1
    assert f"differs  {folder / 'pinned.pt'}: has sha256 " in printed
    assert f"not {HELLO_SHA256}" in printed
    assert f"{folder}: 2 files of known weights, 1 differ" in printed


def answering(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    import io
    from email.message import Message
    from urllib.response import addinfourl

    class Opener:
        def open(self, request: Any, timeout: float) -> addinfourl:
            return addinfourl(io.BytesIO(content), Message(), request.full_url, 200)

    monkeypatch.setattr(evaluation.weight_downloads, "build_opener", lambda *handlers: Opener())


def test_fetch_brings_a_file_once(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    answering(monkeypatch, HELLO)

    code, printed = run(monkeypatch, capsys, "fetch", "pinned.pt")
    assert code == 0
    assert f"{folder / 'pinned.pt'}  sha256 {HELLO_SHA256}" in printed
    assert "license: MIT" in printed
    assert "unpinned" not in printed
    assert (folder / "pinned.pt").read_bytes() == HELLO

    code, printed = run(monkeypatch, capsys, "fetch", "pinned.pt")
    assert (code, f"{folder / 'pinned.pt'}: all there already" in printed) == (0, True)


def test_fetch_says_when_nobody_published_a_hash(tmp_path: Path, folder: Path, monkeypatch: Any, capsys: Any) -> None:
    answering(monkeypatch, HELLO)

    code, printed = run(monkeypatch, capsys, "fetch", "free.pt", "--folder", str(tmp_path / "mine"))

    assert code == 0
    assert "unpinned: no published hash exists of free.pt" in printed
    assert f"{tmp_path / 'mine' / 'free.pt'}  sha256 {HELLO_SHA256}" in printed
    assert not (folder / "free.pt").exists()


def test_fetch_of_other_bytes_ends_in_one_message_and_leaves_nothing(
    folder: Path, monkeypatch: Any, capsys: Any
) -> None:
    answering(monkeypatch, b"altered\n")

    code, printed = run(monkeypatch, capsys, "fetch", "pinned.pt")

    assert code == 2
    assert "https://x.org/pinned.pt: the file that came has sha256" in printed
    assert [path.name for path in folder.iterdir()] == ["us"]


def test_fetch_by_hand_and_of_unknown_names_say_what_to_do(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    code, printed = run(monkeypatch, capsys, "fetch", "us/net")
    assert code == 2
    assert "`us/net`: no URL is known for net.bin; download it manually (a friend)" in printed
    assert list((folder / "us" / "net").iterdir()) == []

    code, printed = run(monkeypatch, capsys, "fetch", "pined.pt")
    assert code == 2
    assert "Did you mean `pinned.pt`?" in printed
