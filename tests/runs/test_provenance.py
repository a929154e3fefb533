"""Every stage says which code it ran with, as that was when it started."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from mav_lightning.common.json_files import read_json
from mav_lightning.runs import provenance as module
from mav_lightning.runs.executor import Local, Running
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.provenance import provenance
from mav_lightning.runs.scheduler import run_stages
from mav_lightning.runs.stage_folder import Stage, StageFolder


class Silent:
    def started(self, job: Running) -> None:
        pass

    def settled(self, stage: Stage, outcome: str, seconds: float | None) -> None:
        pass

    def tick(self, running: Sequence[Running], elsewhere: Sequence[Stage]) -> None:
        pass


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, whose `code.py` provenance takes for its own file."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "code.py").write_text("first\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(module, "__file__", str(folder / "code.py"))
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def run_two(root: Path, during_the_first: str) -> list[StageFolder]:
    """Two stages, one after the other; a shell command is run while the first one does."""
    first = Stage.of("a", {"kind": "data"}, {})
    stages = [first, Stage.of("b", {"kind": "train"}, {"data": first.id})]
    command = ("sh", "-c", f'case "$0" in */a-*) {during_the_first};; esac; echo "{{}}" > "$0/cost.json"')
    run_stages(Ledger(root), stages, Local(command=command), Silent(), poll=0.01)
    return [Ledger(root).folder(stage) for stage in stages]


def test_an_edit_while_a_stage_runs_is_told_of_the_next_one_alone(checkout: Path, tmp_path: Path) -> None:
    before, after = run_two(tmp_path / "out", f"echo second >> {checkout}/code.py")

    assert (
        read_json(before.done_file)["commit"]
        == read_json(after.done_file)["commit"]
        == git(checkout, "rev-parse", "HEAD")
    )
    assert read_json(before.done_file)["dirty"] is None and not before.patch_file.exists()
    patch = after.patch_file.read_bytes()
    assert read_json(after.done_file)["dirty"] == hashlib.sha256(patch).hexdigest()[:12]
    assert b"+second\n" in patch


def test_a_commit_while_a_stage_runs_is_told_of_the_next_one_alone(checkout: Path, tmp_path: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    edit = f"echo second >> {checkout}/code.py; git -C {checkout} commit --quiet --all --message second"
    before, after = run_two(tmp_path / "out", edit)

    second = git(checkout, "rev-parse", "HEAD")
    assert [read_json(folder.done_file)["commit"] for folder in (before, after)] == [first, second] and first != second


def test_the_patch_brings_back_text_and_bytes_and_goes_when_they_are_committed(checkout: Path, tmp_path: Path) -> None:
    patch, edited = tmp_path / "uncommitted.patch", {"code.py": b"caf\xe9\r\n\n", "weights.bin": bytes(range(256))}
    for name, content in edited.items():
        (checkout / name).write_bytes(content)
    git(checkout, "add", "weights.bin")
    git(checkout, "config", "color.ui", "always")

    assert provenance(patch)["dirty"] == hashlib.sha256(patch.read_bytes()).hexdigest()[:12]

    git(checkout, "reset", "--quiet", "--hard")
    git(checkout, "apply", str(patch))
    assert {name: (checkout / name).read_bytes() for name in edited} == edited
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "second")
    assert provenance(patch)["dirty"] is None and not patch.exists()


def test_files_that_git_does_not_track_are_not_seen(checkout: Path, tmp_path: Path) -> None:
    (checkout / "notes.txt").write_text("mine")

    assert provenance(tmp_path / "uncommitted.patch")["dirty"] is None


def test_code_that_is_untracked_borrows_no_commit_of_the_repository_around_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "code.py").write_text("edited\n")
    (checkout / "installed.py").touch()
    monkeypatch.setattr(module, "__file__", str(checkout / "installed.py"))

    found = provenance(tmp_path / "uncommitted.patch")

    assert (found["commit"], found["dirty"]) == (None, None)
    assert not (tmp_path / "uncommitted.patch").exists()
