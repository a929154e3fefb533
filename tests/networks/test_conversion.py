"""Folders of version 0.1 become today's with the same weights, and today's folders are left alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mav_lightning.cascade.pipeline_file import READY_MADE, read_pipeline_file
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import CARD, WEIGHTS, read_card
from mav_lightning.networks.conversion import convert_network, is_old
from mav_lightning.networks.stored import load_network

UNET = "mav_lightning.nn.unet.SpaceTimeUNet"
EDM = "mav_lightning.diffusion.denoiser.EDMDenoiser"
# Today's name of a weight → the name it had in version 0.1.
OLD = {
    "net.conv_in.spatial.weight": "net.net.enter.spatial.weight",
    "net.norm_out.bias": "net.net.leave_norm.bias",
    "net.mid_blocks.0.emb_proj.weight": "net.net.middle.0.modulate.weight",
    "net.mid_blocks.0.attention.temporal.out_proj.bias": "net.net.middle.0.attention.temporal.project.bias",
    "net.mid_blocks.0.attention.time_proj.weight": "net.net.middle.0.attention.temporal_position.weight",
    "net.mid_blocks.0.attention.spatial.context_kv.bias": "net.net.middle.0.attention.spatial.context.bias",
    "net.time_proj.weight": "net.net.temporal_time.weight",
}


def as_old(name: str) -> str:
    """The name of a weight in version 0.1; every name of the decoder is turned back by the reverse rules."""
    inner = name.removeprefix("net.")
    for today, before in (
        ("noise_embedding.", "noise."), ("cond_proj.", "cond."), ("context_proj.", "context."),
        ("fps_embedding.", "temporal_fps."), ("emb_mlp.", "mix."), ("conv_in.", "enter."), ("norm_out.", "leave_norm."),
        ("conv_out.", "leave."), ("down_blocks.", "down."), ("mid_blocks.", "middle."), ("up_blocks.", "up."),
    ):  # fmt: skip
        if inner.startswith(today):
            inner = before + inner.removeprefix(today)
    if inner.startswith("time_proj."):
        inner = "temporal_time." + inner.removeprefix("time_proj.")
    inner = inner.replace(".emb_proj.", ".modulate.").replace(".attention.time_proj.", ".attention.temporal_position.")
    inner = inner.replace(".spatial.context_kv.", ".spatial.context.").replace(".out_proj.", ".project.")
    return f"net.net.{inner}"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The shipped decoder as version 0.1 wrote it."""
    folder = tmp_path / "old"
    folder.mkdir()
    weights = {as_old(name): value for name, value in load_file(READY_MADE / "decoder" / WEIGHTS).items()}
    assert set(OLD.values()) <= set(weights)
    save_file(weights, folder / WEIGHTS)
    described: dict[str, Any] = dict(read_card(READY_MADE / "decoder").network["net"])
    described |= {"_target_": UNET, "middle": described.pop("mid_blocks"), "factorised": described.pop("factorized")}
    described = {key: value for key, value in described.items() if key not in ("class", "temporal_layer")}
    card = {"net": {"_target_": EDM, "net": described, "sigma_data": 0.5}, "trained": {"name": "temporal"}}
    (folder / CARD).write_text(json.dumps(card))
    return folder


def test_a_converted_network_has_the_same_weights_under_todays_names(old: Path, tmp_path: Path) -> None:
    convert_network(old, tmp_path / "new")
    expected = load_network(READY_MADE / "decoder").state_dict()
    found = load_network(tmp_path / "new").state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert read_card(tmp_path / "new").trained.name == "temporal"


def test_only_old_folders_are_converted(old: Path, tmp_path: Path) -> None:
    assert is_old(old) and not is_old(READY_MADE / "decoder") and not is_old(tmp_path)
    with pytest.raises(UserError, match="nothing to convert"):
        convert_network(READY_MADE / "decoder", tmp_path / "new")


def test_a_pipeline_of_today_is_not_converted(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", str(READY_MADE), "--out", str(tmp_path / "new")])
    assert isinstance(done.exception, UserError) and "nothing to convert" in done.exception.message
    assert not (tmp_path / "new").exists()


def test_a_pipeline_keeps_its_networks_of_today(old: Path, tmp_path: Path) -> None:
    shutil.copytree(READY_MADE, tmp_path / "mixed", ignore=shutil.ignore_patterns("decoder"))
    shutil.copytree(old, tmp_path / "mixed" / "decoder")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "mixed"), "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.exception
    kept, found = (read_pipeline_file(folder).checkpoints for folder in (READY_MADE, tmp_path / "new"))
    assert replace(found, decoder=kept.decoder) == kept


@pytest.mark.parametrize("target", ["os.system", "mav_lightning.runs.job.Job", None, 5])
def test_what_was_no_network_is_not_converted(old: Path, tmp_path: Path, target: Any) -> None:
    (old / CARD).write_text(json.dumps({"net": {"_target_": target, "command": "x"}, "trained": {}}))
    with pytest.raises(UserError, match=r"was not a network of version 0\.1"):
        convert_network(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()
