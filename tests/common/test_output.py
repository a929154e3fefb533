"""Output paths are checked before any work."""

import os
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.output import FolderContent, OutputKind, check_output, check_replaceable
from mav_lightning.common.whole_file import new_folder

NUMBERS = FolderContent(("index.json", "part/*.bin"), sign="index.json")


@pytest.mark.parametrize("kind", ["file", "new file", "folder", "new folder"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/", "is the root"),
        ("a.txt/b", "which is a file"),
        ("n" * 300, "bytes"),
        ("m" * 250, "bytes"),
        ("dangling", "does not exist"),
        ("dangling/x", "does not exist"),
        ("a\0b", "cannot be written"),
    ],
)
def test_paths_that_cannot_be_written_are_refused(tmp_path: Path, kind: OutputKind, name: str, message: str) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=message) as caught:
        check_output(tmp_path / name, kind)
    assert caught.value.argument == "out"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("folder", "file", "is a folder"),
        ("full", "new folder", "already holds something; replace it with overwrite=True, or choose another folder"),
        ("file", "new file", "exists; replace it with overwrite=True, or choose another path"),
        ("folder", "new file", "is a folder"),
        ("file", "folder", "is not a folder"),
        ("file", "new folder", "is not a folder"),
        ("pipe", "file", "is not a regular file"),
        ("pipe", "folder", "is not a folder"),
    ],
)
def test_paths_of_another_kind_are_refused(tmp_path: Path, name: str, kind: OutputKind, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        check_output(tmp_path / name, kind)


def test_the_current_folder_is_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="current folder"):
        check_output(".", "new folder")
    assert check_output(".", "folder") == Path(".")


def test_a_device_is_refused() -> None:
    with pytest.raises(UserError, match="not a regular file"):
        check_output("/dev/null", "file")


def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(UserError, match="does not take files"):
        check_output("/proc/x.json", "file")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("new/deep/x.json", "file"),
        ("new.json", "new file"),
        ("file", "file"),
        ("folder", "folder"),
        ("folder", "new folder"),
        ("new", "folder"),
    ],
)
def test_paths_that_can_be_written_pass_and_leave_nothing_behind(tmp_path: Path, name: str, kind: OutputKind) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert check_output(tmp_path / name, kind) == tmp_path / name
    assert sorted(tmp_path.rglob("*")) == before


def results(folder: Path) -> Path:
    """Write results of the kind `NUMBERS`."""
    (folder / "part").mkdir(parents=True)
    for name in NUMBERS.files[:1] + ("part/0.bin", "part/1.bin"):
        (folder / name).write_text("old")
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_replaces_earlier_results_of_its_kind_with_all_their_files(tmp_path: Path) -> None:
    out = results(tmp_path / "out")
    (out / ".DS_Store").touch()
    with new_folder(out, NUMBERS) as partial:
        assert len(files(out)) == 4, "the old results stay until the new ones are complete"
        (partial / "index.json").write_text("new")
    assert files(out) == {"index.json"} and (out / "index.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_replacement_leaves_the_old_results(tmp_path: Path) -> None:
    out = results(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), new_folder(out, NUMBERS):
        raise KeyboardInterrupt
    assert len(files(out)) == 3 and [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["notes.txt", "part/notes.txt", "elsewhere/0.bin"])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path: Path, name: str) -> None:
    out = results(tmp_path / "out")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).touch()
    with pytest.raises(UserError, match=f"holds `{name}`, which would be lost"), new_folder(out, NUMBERS):
        pass
    assert len(files(out)) == 4


def test_files_of_the_right_names_are_not_enough_to_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "mine.bin").touch()
    with pytest.raises(UserError, match="holds `part/mine.bin`, which would be lost"):
        check_replaceable(tmp_path, NUMBERS)


def test_the_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results(tmp_path / "out"))
    with pytest.raises(UserError, match="current folder"), new_folder(Path("."), NUMBERS):
        pass


def test_missing_and_empty_folders_need_no_replacement(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "missing", NUMBERS)
    check_replaceable(tmp_path, NUMBERS)
