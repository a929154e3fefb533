"""Exporting a network from a training, finished or not."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_training import run
from typer.testing import CliRunner

from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import Card, read_card, write_card
from mav_lightning.training.checkpointer import CardWriter
from mav_lightning.training.network_export import export_network

NODE = {"_target_": "mav_lightning.nn.small_clip.SmallCLIP"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(out, steps=8, extra=[CardWriter(out, Card.of(NODE, {"fps": [4.0, 16.0]}))])
    return out


def unfinished(trained: Path, tmp_path: Path) -> Path:
    """The same run as it stood before its weights were written."""
    folder = tmp_path / "unfinished"
    (folder / "checkpoints").mkdir(parents=True)
    for file in [*(trained / "checkpoints").iterdir(), trained / "network.json"]:
        (folder / file.relative_to(trained)).write_bytes(file.read_bytes())
    return folder


def test_a_training_says_how_to_build_its_network_from_the_start(trained: Path) -> None:
    assert replace(read_card(trained), weights_sha256=None) == Card.of(NODE, {"fps": [4.0, 16.0]})


def test_a_finished_training_is_exported_as_it_is(trained: Path, tmp_path: Path) -> None:
    assert export_network(trained, tmp_path / "out") is None
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest


def test_an_unfinished_training_is_exported_from_its_newest_checkpoint_with_averaged_weights(
    trained: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app, ["checkpoint", "export", str(unfinished(trained, tmp_path)), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0 and "exported step 8" in done.output
    exported = load_file(tmp_path / "out" / "weights.safetensors")
    finished = load_file(trained / "weights.safetensors")
    assert exported.keys() == finished.keys()
    assert all(torch.equal(exported[name], finished[name]) for name in finished), "the same step, the same average"


def test_what_cannot_be_exported_is_told(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a trained network, `network.json` is missing"):
        export_network(tmp_path / "none", tmp_path / "out")
    (tmp_path / "early").mkdir()
    write_card(tmp_path / "early", Card.of(NODE))
    with pytest.raises(UserError, match="has no weights and no checkpoint yet; wait for the first one"):
        export_network(tmp_path / "early", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="already holds something; replace it with overwrite=True"):
        export_network(trained, trained)
