"""Files and folders appear whole or not at all, and what belongs to others stays as it is."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.whole_file import new_folder, whole_file


def test_two_writers_of_one_file_do_not_share_a_temporary_one(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as other:
        one.write_text("1")
        other.write_text("2")
        assert one != other and one.read_text() == "1"
    assert (tmp_path / "a").read_text() == "1" and os.listdir(tmp_path) == ["a"]


def test_the_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    with whole_file(tmp_path / "a") as partial:
        partial.unlink()
        partial.touch(mode=0o600)  # as some libraries write
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a") as partial:
        partial.write_text("new")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", [".out.partial", ".out.0123abcd.partial", ".out.thesis.partial"])
def test_a_folder_of_somebody_else_is_never_removed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis").write_text("x")
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert (tmp_path / name / "thesis").read_text() == "x"
    assert os.listdir(tmp_path / "out") == ["a"]


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out[1]") as living:
        child = os.fork()
        if child == 0:
            with new_folder(tmp_path / "out[1]"):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert len(list(tmp_path.iterdir())) == 2

        with pytest.raises(RuntimeError), new_folder(tmp_path / "out[1]"):
            assert len(list(tmp_path.iterdir())) == 2, "the killed one's is gone"
            raise RuntimeError
        assert list(tmp_path.iterdir()) == [living]
    assert os.listdir(tmp_path) == ["out[1]"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert not list((tmp_path / "deep").iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(UserError, match="already holds something"), new_folder(tmp_path / "full"):
        pass


def test_a_folder_without_content_is_removed_without_a_file_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # it opens each folder, and ignores that it cannot
    with pytest.raises(UserError, match=f"^{tmp_path}/out: too many files are open in this process"):
        fill()
    assert not list(tmp_path.iterdir())
