"""``mav checkpoint``: what people see of a training, and that looking changes nothing."""

import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy_training import run  # noqa: E402

from mav_lightning.cli.app import app  # noqa: E402
from mav_lightning.networks.stored import Card, write_card  # noqa: E402
from mav_lightning.training.checkpointer import CardWriter  # noqa: E402

NODE = {"_target_": "mav_lightning.nn.small_clip.SmallCLIP"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(out, steps=8, extra=[CardWriter(out, Card.of(NODE))], trace=False)
    return out


@pytest.fixture
def damaged(trained: Path, tmp_path: Path) -> Path:
    """A copy whose newest checkpoint and whose weights have a flipped bit."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for file in (folder / "checkpoints" / "step-00000008.ckpt", folder / "weights.safetensors"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    return folder


def mav(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["checkpoint", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return 2, str(done.exception)
    return done.exit_code, done.output


def test_a_training_shows_its_state_and_checkpoints(trained: Path) -> None:
    code, printed = mav("inspect", str(trained))
    assert code == 0
    first, newest, before = printed.splitlines()
    assert "finished, 8 steps, run " in first
    assert newest.startswith("step-00000008.ckpt") and newest.endswith("intact")
    assert before.startswith("step-00000004.ckpt")


def test_a_checkpoint_shows_what_it_holds(trained: Path) -> None:
    code, printed = mav("inspect", str(trained / "checkpoints" / "step-00000008.ckpt"))
    assert code == 0
    for line in ("optimizer steps:  8", "averaged over:    8 steps", "network:          SmallCLIP", '"seed": 0'):
        assert line in printed


def test_an_intact_training_is_verified(trained: Path) -> None:
    code, printed = mav("verify", str(trained))
    assert code == 0 and printed.count(": intact") == 5 == len(printed.splitlines())


def test_damage_is_named_and_nothing_is_changed(damaged: Path) -> None:
    before = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    code, printed = mav("verify", str(damaged))
    assert code == 1
    assert "step-00000008.ckpt: does not match its checksum" in printed
    assert "weights.safetensors: does not match its recorded sha256" in printed
    assert mav("inspect", str(damaged))[0] == 0
    assert {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()} == before


def test_damaged_results_are_not_exported_and_an_older_checkpoint_is(damaged: Path, tmp_path: Path) -> None:
    code, printed = mav("export", str(damaged), "--out", str(tmp_path / "a"))
    assert code == 2 and "is damaged or another network's: copy the folder again" in printed
    code, printed = mav("export", str(damaged), "--out", str(tmp_path / "b"), "--step", "4")
    assert code == 0 and "exported step 4" in printed
    code, printed = mav("export", str(damaged), "--out", str(tmp_path / "c"), "--step", "8")
    assert code == 2 and "no checkpoint matches its checksum" in printed
    code, printed = mav("export", str(damaged), "--out", str(tmp_path / "c"), "--step", "5")
    assert code == 2 and "has no checkpoint of step 5" in printed


def test_exporting_leaves_a_checkpoint_without_a_checksum_where_it_is(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "weights.safetensors").unlink()
    write_card(folder, Card.of(NODE))
    (folder / "checkpoints" / "step-00000008.ckpt.sha256").unlink()
    before = sorted(path.name for path in folder.rglob("*"))

    with pytest.warns(UserWarning, match="step-00000008.ckpt does not match its checksum and is skipped"):
        assert mav("export", str(folder), "--out", str(tmp_path / "out"))[0] == 0
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_folder_without_a_training_is_one_message(command: str, tmp_path: Path) -> None:
    code, printed = mav(command, str(tmp_path))
    assert code == 2 and "not the folder of a training; give a folder that `mav train` wrote" in printed
