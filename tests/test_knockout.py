"""Taking temporal layers out of a trained network on disk."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mav_lightning.ablation.run import load_plan
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.config import instantiate
from mav_lightning.knockout import KnockOut
from mav_lightning.networks.card import WEIGHTS, Card, read_card
from mav_lightning.networks.stored import load_network, write_network
from mav_lightning.runs.stage_folder import StageFolder

UNET = {
    "_target_": "mav_lightning.nn.unet.SpaceTimeUNet", "channels": 8, "multipliers": [1, 2], "attention": [1],
    "head_channels": 8, "cond_channels": 4, "identity_init": False,
}  # fmt: skip
NODE = {"_target_": "mav_lightning.diffusion.denoiser.EDMDenoiser", "net": UNET}


def trained(folder: Path, **options: object) -> Path:
    folder.mkdir()
    node = NODE | {"net": UNET | options}
    write_network(folder, instantiate(node).state_dict(), Card.of(node, {"name": "temporal", "fps": [4.0, 16.0]}))
    return folder


def test_the_written_network_lacks_those_layers_and_nothing_else(tmp_path: Path) -> None:
    source, out = trained(tmp_path / "temporal"), tmp_path / "out"
    out.mkdir()

    KnockOut(source, ["*attention"]).run(out, seed=None, track=untracked)

    found = load_network(out).net.temporal_activity()
    assert all((value == 0.0) == name.endswith("attention") for name, value in found.items())
    before, after = load_file(source / WEIGHTS), load_file(out / WEIGHTS)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".temporal.out_proj." in name for name in changed)
    assert replace(read_card(out), weights_sha256=None) == replace(read_card(source), weights_sha256=None)


def test_no_layer_named_is_the_same_network(tmp_path: Path) -> None:
    source, out = trained(tmp_path / "temporal"), tmp_path / "out"
    out.mkdir()

    KnockOut(source, []).run(out, seed=None, track=untracked)

    assert (out / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()


def test_a_wrong_name_writes_nothing(tmp_path: Path) -> None:
    source, out = trained(tmp_path / "temporal"), tmp_path / "out"
    out.mkdir()

    with pytest.raises(UserError, match=r"layers: no temporal layer is called `net.conv_in`; there are: conv_in"):
        KnockOut(source, ["net.conv_in"]).run(out, seed=None, track=untracked)
    assert list(out.iterdir()) == []


def test_the_layers_are_printed_as_knocking_out_wants_them(tmp_path: Path) -> None:
    source = trained(tmp_path / "temporal")

    result = CliRunner().invoke(app, ["layers", str(source)])

    assert result.exit_code == 0
    for name in load_network(source).net.temporal_layers():
        assert name in result.output
    still = trained(tmp_path / "spatial", temporal_kernel_size=0, temporal_attention=False)
    with pytest.raises(UserError, match="this network has no temporal layers; give a decoder trained on clips"):
        CliRunner().invoke(app, ["layers", str(still)], catch_exceptions=False)


def test_the_stage_of_the_study_leaves_a_network_where_others_look_for_one(tmp_path: Path) -> None:
    source, out = trained(tmp_path / "temporal"), tmp_path / "knocked"

    command = [
        "train",
        "stage/knockout_tiny.yaml",
        f"needs.decoder={source}",
        "task.layers=[conv_in]",
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert [name for name, value in load_network(out).net.temporal_activity().items() if value == 0.0] == ["conv_in"]


def test_the_study_samples_the_knocked_out_network(tmp_path: Path) -> None:
    stages = load_plan("ablation/knockout.yaml", ["seeds=[0]"]).trial("no_attention", 0).stages
    folder = StageFolder(tmp_path)
    folder.create(stages["knockout"])

    assert stages["sample"].needs["decoder"] == stages["knockout"].id
    assert folder.artifact == tmp_path, "where KnockOut writes"
