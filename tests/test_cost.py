"""Costs without computing, and with them a proof that every network of every scale can be built."""

from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cli.app import app
from mav_lightning.common.conf import conf_root
from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate, load_config
from mav_lightning.cost import network_cost

DENOISERS = ("prior", "spatial", "temporal", "interpolator", "sr_low_image", "sr_low", "sr_high")
SCALES = ("tiny", "small", "paper")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("stage", DENOISERS)
def test_every_stage_of_every_scale_is_built_and_costed_without_memory(stage: str, scale: str) -> None:
    found = network_cost(load_config(f"stage/{stage}_{scale}.yaml"))
    assert found.parameters > 0 and found.flops > 2 * found.parameters and found.activation_bytes > 0
    assert (found.temporal > 0) is (stage in ("temporal", "interpolator", "sr_low"))


@pytest.mark.parametrize("scale", SCALES)
def test_the_stages_of_a_scale_fit_each_other(scale: str) -> None:
    stages = {name: load_config(f"stage/{name}_{scale}.yaml") for name in (*DENOISERS, "pipeline")}
    sampling: Sampling = instantiate(stages["pipeline"]["task"]["sampling"])
    assert stages["sr_low"]["size"] == sampling.size * sampling.low_factor == stages["sr_low_image"]["size"]
    assert stages["sr_high"]["size"] == stages["sr_low"]["size"] * sampling.high_factor
    assert {stages[name]["frames"] for name in ("temporal", "interpolator", "sr_low")} == {sampling.frames}
    for stage, factor in (
        ("sr_low_image", sampling.low_factor),
        ("sr_low", sampling.low_factor),
        ("sr_high", sampling.high_factor),
    ):
        assert stages[stage]["module"]["factor"] == factor
    channels = stages["prior"]["module"]["net"]["net"]["channels"]
    assert {stages[name]["module"]["net"]["net"]["cond_channels"] for name in ("spatial", "temporal")} == {channels}
    with torch.device("meta"):
        nets = {name: instantiate(stages[name]["module"]["net"]).state_dict() for name in DENOISERS}
    for child, parent in (("temporal", "spatial"), ("interpolator", "temporal"), ("sr_low", "sr_low_image")):
        assert not nets[parent].keys() - nets[child].keys(), f"{child} has no place for all of {parent}"
        changed = [name for name in nets[parent] if nets[parent][name].shape != nets[child][name].shape]
        assert changed in ([], ["net.enter.spatial.weight"])


def test_the_geometry_of_the_paper() -> None:
    sampling: Sampling = instantiate(load_config("stage/pipeline_paper.yaml")["task"]["sampling"])
    frames = sampling.windows.count(sampling.frames) * (sampling.frames - 1) + 1
    side = sampling.size * sampling.low_factor * sampling.high_factor
    assert (sampling.frames, frames, sampling.size, side) == (16, 76, 64, 768)


def test_flops_are_those_of_a_known_network() -> None:
    config: dict[str, Any] = load_config("stage/sr_high_tiny.yaml", ["module.crop=16"])
    whole = network_cost(load_config("stage/sr_high_tiny.yaml", ["module.crop=32"])).flops
    assert whole / network_cost(config).flops == pytest.approx(4, rel=0.02), "convolutions cost by the pixel"


def test_a_stage_without_a_denoiser_is_refused() -> None:
    with pytest.raises(UserError, match="clip: trains no denoiser; give the config of a prior, decoder or one after"):
        network_cost(load_config("stage/clip_tiny.yaml"))


def test_the_command_prints_a_row_for_each_config() -> None:
    done = CliRunner().invoke(app, ["cost", "stage/spatial_tiny.yaml", "stage/temporal_tiny.yaml", "--batch-size", "1"])
    assert done.exit_code == 0, done.output
    assert done.output.count("_tiny.yaml") == 2
    assert sorted(file.stem.rpartition("_")[2] for file in conf_root().glob("stage/spatial_*.yaml")) == sorted(SCALES)
