"""Weights that the user brings: hashes and the catalogue."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from evaluation.weight_files import (
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
        (
            "a: {what: x, where: y, files: {b: {instead_of: c}}}",
            r"`a\.files\.b\.instead_of` names `c`, which is not one of its files",
        ),
    ],
)
def test_a_catalogue_with_a_mistake_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        known_weights(tmp_path / "mine.yaml")
