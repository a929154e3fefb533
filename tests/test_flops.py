"""Costs without computing, and with them a proof that every network of every scale can be built."""

import itertools

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from typer.testing import CliRunner

from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cli.app import app
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import build
from mav_lightning.config import instantiate, load_config
from mav_lightning.flops import network_cost

DENOISERS = ("prior", "spatial", "temporal", "interpolator", "sr_low_image", "sr_low", "sr_high")
SCALES = ("tiny", "small", "paper")


@pytest.mark.parametrize("stage", DENOISERS)
def test_every_stage_of_scale_paper_is_costed_without_memory_and_its_step_fits_into_one_device(stage: str) -> None:
    config = load_config(f"stage/{stage}_paper.yaml")
    batch_size = config["data"]["batch_size"]
    found = network_cost(config, batch_size)
    assert found.parameters > 0 and found.flops > 2 * found.parameters * batch_size and found.activation_bytes > 0
    assert (found.temporal > 0) is (stage in ("temporal", "interpolator", "sr_low"))
    assert found.peak_bytes < 80 * 2**30


@pytest.mark.parametrize("scale", SCALES)
def test_the_stages_of_a_scale_fit_each_other(scale: str) -> None:
    stages = {name: load_config(f"stage/{name}_{scale}.yaml") for name in (*DENOISERS, "pipeline")}
    sampling = build(Sampling, stages["pipeline"]["task"]["sampling"], "sampling")
    assert stages["sr_low"]["size"] == sampling.size * sampling.low_factor == stages["sr_low_image"]["size"]
    assert stages["sr_high"]["size"] == stages["sr_low"]["size"] * sampling.high_factor
    assert {stages[name]["frames"] for name in ("temporal", "interpolator", "sr_low")} == {sampling.frames}
    for stage, factor in (
        ("sr_low_image", sampling.low_factor),
        ("sr_low", sampling.low_factor),
        ("sr_high", sampling.high_factor),
    ):
        assert stages[stage]["module"]["factor"] == factor
    channels = stages["prior"]["module"]["denoiser"]["net"]["channels"]
    assert {stages[name]["module"]["denoiser"]["net"]["cond_channels"] for name in ("spatial", "temporal")} == {
        channels
    }
    with torch.device("meta"):
        nets = {name: instantiate(stages[name]["module"]["denoiser"]).state_dict() for name in DENOISERS}
    for child, parent in (("temporal", "spatial"), ("interpolator", "temporal"), ("sr_low", "sr_low_image")):
        assert not nets[parent].keys() - nets[child].keys(), f"{child} has no place for all of {parent}"
        changed = [name for name in nets[parent] if nets[parent][name].shape != nets[child][name].shape]
        assert changed in ([], ["net.conv_in.spatial.weight"])


def test_a_frozen_layer_costs_no_gradient_of_its_own() -> None:
    config = load_config("stage/temporal_tiny.yaml", extra={"module.spatial_lr": 0.0})
    frozen, joint = network_cost(config), network_cost(load_config("stage/temporal_tiny.yaml"))

    assert joint.flops / 3 < frozen.flops < 0.8 * joint.flops, "forwards it runs all the same"
    assert frozen.parameters == joint.parameters and frozen.state_bytes == 8 * (frozen.parameters + frozen.temporal)


GROWN = [("temporal", "spatial"), ("interpolator", "spatial"), ("sr_low", "sr_low_image")]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("child", "parent"), GROWN)
def test_what_is_grown_learns_more_slowly_than_its_parent_did(child: str, parent: str, scale: str) -> None:
    modules = [load_config(f"stage/{stage}_{scale}.yaml")["module"] for stage in (child, parent)]
    rates = [module["denoising"]["optimizer"]["lr"] for module in modules]
    assert rates[0] <= rates[1] / 2


def test_the_geometry_of_the_paper() -> None:
    sampling = build(Sampling, load_config("stage/pipeline_paper.yaml")["task"]["sampling"], "sampling")
    frames = sampling.windows.count(sampling.frames) * (sampling.frames - 1) + 1
    side = sampling.size * sampling.low_factor * sampling.high_factor
    assert (sampling.frames, frames, sampling.size, side) == (16, 76, 64, 768)


def test_flops_are_those_counted_by_hand() -> None:
    def flops(middle: int) -> int:
        words = ["module.crop=16", "module.denoiser.net.multipliers=[1,4]", f"module.denoiser.net.mid_blocks={middle}"]
        return network_cost(load_config("stage/sr_high_tiny.yaml", words)).flops

    width, pixels, kernel = 4 * 16, 8 * 8, 9  # of the block in the middle
    convolutions = 2 * (2 * width * width * kernel * pixels)
    modulation = 2 * (4 * 16) * (2 * width)
    assert flops(2) - flops(1) == 3 * (convolutions + modulation), "forwards, backwards to inputs, and to weights"


NET = "module.denoiser.net."


def test_joint_attention_costs_its_scores_and_no_parameters() -> None:
    along_time = network_cost(load_config("stage/temporal_tiny.yaml"))
    joint = network_cost(load_config("stage/temporal_tiny.yaml", extra={f"{NET}temporal_attention_window": 4}))
    layers, channels, pixels, frames = 3, 64, 4 * 4, 9  # one level: a block down, one in the middle, one up

    pairs = (pixels * frames) ** 2 - pixels * frames**2
    products = 2 * 2 * pairs * channels  # queries by keys, and scores by values
    assert joint.parameters == along_time.parameters
    assert joint.flops - along_time.flops == 3 * layers * products, "forward, and two gradients of each product"


@pytest.mark.parametrize(
    ("option", "value", "parameters"),
    [
        ("temporal_causal", True, 0),
        ("temporal_position", "rotary", -3 * (64 * 64 + 64)),
        ("temporal_position", "relative", -3 * (64 * 64 + 64 - 4 * 64)),
        ("fps", "only_seconds", -3 * 64 * 32 - 64 * 32),
    ],
)
def test_every_temporal_variant_is_costed(option: str, value: object, parameters: int) -> None:
    before, after = (
        network_cost(load_config("stage/temporal_tiny.yaml", extra=extra)) for extra in ({}, {NET + option: value})
    )
    assert after.parameters - before.parameters == after.temporal - before.temporal == parameters
    assert 0.95 < after.flops / before.flops < 1.05


@pytest.mark.parametrize("placement", ["before", "parallel"])
def test_another_placement_moves_the_temporal_kernels_to_other_channels(placement: str) -> None:
    found = network_cost(load_config("stage/temporal_tiny.yaml", extra={f"{NET}temporal_placement": placement}))
    assert found.temporal != network_cost(load_config("stage/temporal_tiny.yaml")).temporal > 0


def test_the_peak_of_a_step_is_what_is_allocated_when_it_runs() -> None:
    config = load_config("stage/temporal_tiny.yaml", extra={f"{NET}activation_checkpointing": "full"})
    denoiser = instantiate(config["module"]["denoiser"])
    clips, fps = torch.zeros(2, 3, config["frames"], 16, 16), torch.full((2,), 8.0)

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        loss = denoiser(clips, torch.ones(2), torch.zeros(2, 64), fps, None).x0.square().mean()
        loss.backward()

    events = [one for one in record.profiler.kineto_results.events() if one.name() == "[memory]"]
    tensors = max(itertools.accumulate(one.nbytes() for one in sorted(events, key=lambda one: one.start_ns())))
    states = 3 * 4 * sum(weight.numel() for weight in denoiser.parameters())  # all but the gradients
    computed = network_cost(config, batch_size=2)
    assert computed.activation_bytes < 0.5 * tensors, "the backward pass needs more than what was kept"
    assert computed.peak_bytes == pytest.approx(states + tensors, rel=0.01)


def test_a_step_on_more_samples_needs_the_same_states_and_more_of_the_rest() -> None:
    config = load_config("stage/temporal_tiny.yaml")
    one, four = network_cost(config), network_cost(config, batch_size=4)
    assert four.flops == 4 * one.flops and four.state_bytes == one.state_bytes
    assert four.activation_bytes == pytest.approx(4 * one.activation_bytes, rel=0.1)
    assert one.state_bytes + one.activation_bytes <= one.peak_bytes < four.peak_bytes


def test_a_stage_without_a_denoiser_is_refused() -> None:
    with pytest.raises(UserError, match="clip: trains no denoiser; give the config of a prior, decoder or one after"):
        network_cost(load_config("stage/clip_tiny.yaml"))


def test_the_command_prints_a_row_for_each_config() -> None:
    done = CliRunner().invoke(app, ["cost", "stage/spatial_tiny.yaml", "stage/temporal_tiny.yaml", "--batch-size", "1"])
    assert done.exit_code == 0, done.output
    assert done.output.count("_tiny.yaml") == 2
    assert sorted(file.stem.rpartition("_")[2] for file in conf_root().glob("stage/spatial_*.yaml")) == sorted(SCALES)
