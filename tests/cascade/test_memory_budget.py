"""A memory budget chooses how many clips each network samples at once; a clip is the same bits alone and in a batch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from doll_cascade import pictures
from typer.testing import CliRunner

from mav_lightning.cascade.clip_requests import TextRequest
from mav_lightning.cascade.memory_budget import SamplingMemory
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.sampling_chain import SamplingChain
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.allocations import Allocations
from mav_lightning.common.errors import UserError
from mav_lightning.prompts import Prompt

BATCHES = {"batch_size": 4, "interpolator_batch": 2, "sr_batch": 4}
MEMORY = SamplingMemory(weights=100, kept=10, decoder=50, interpolator=100, super_resolution=200)


@pytest.fixture(scope="module")
def batched(cascade_folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(cascade_folder, **BATCHES)


@pytest.mark.parametrize(
    "use", ["text", "variation", "animate", "morph", "extrapolate", "interpolate", "super_resolve"]
)
def test_one_two_or_five_clips_have_the_same_bits(use: str, batched: Pipeline) -> None:
    frames = {"animate": 1, "morph": 2}.get(use, 5)
    inputs = [f"prompt {i}" for i in range(5)] if use == "text" else pictures(5, frames)
    generate = batched if use == "text" else getattr(batched, use)
    five = generate(inputs, 8.0, range(5))
    assert np.array_equal(generate(inputs[3:], 8.0, [3, 4]), five[3:])
    assert np.array_equal(generate(inputs[4:], 8.0, [4]), five[4:])


def test_looped_clips_have_the_same_bits_alone(batched: Pipeline) -> None:
    three = batched(["a", "b", "c"], 8.0, range(3), loop=True)
    assert np.array_equal(batched(["c"], 8.0, [2], loop=True), three[2:])


def test_batches_of_one_clip_are_what_they_were_before_there_were_others(cascade_folder: Path) -> None:
    stored = Pipeline.from_pretrained(cascade_folder).sampling
    assert (stored.interpolator_batch, stored.sr_batch) == (Sampling.interpolator_batch, Sampling.sr_batch) == (1, 1)


@pytest.mark.parametrize(
    ("budget", "batches"),
    [
        (310, (1, 1, 1)),
        (410, (4, 2, 1)),  # 100 + 40 + 50 · 4 = 340; 100 + 40 + 100 · 2 = 340; 100 + 40 + 200 = 340
        (1000, (8, 8, 4)),  # 100 + 80 + 50 · 8 = 580; 100 + 80 + 100 · 8 = 980; 100 + 80 + 200 · 4 = 980
        (979, (8, 4, 2)),
        (10**9, (64, 64, 64)),
    ],
)
def test_batches_are_the_largest_powers_of_two_that_fit(budget: int, batches: tuple[int, int, int]) -> None:
    assert MEMORY.batches(budget) == batches
    assert MEMORY.needed(*batches) <= budget


def test_a_budget_that_no_clip_fits_names_the_network_that_needs_most() -> None:
    with pytest.raises(UserError) as raised:
        MEMORY.batches(309)
    assert raised.value.argument == "memory"
    assert raised.value.message == (
        "one clip takes 310 B in super-resolution, 100 B of it weights, got 309 B; give more, or reduce frames, or "
        "chunk if spatial super-resolution needs most."
    )


def test_a_pipeline_replaces_its_budget_by_batches(cascade_folder: Path) -> None:
    plain = Pipeline.from_pretrained(cascade_folder)
    found = SamplingMemory.of(plain.cascade, plain.sampling)
    assert plain.cascade.device == torch.device("cpu") and found == SamplingMemory.of(
        plain.cascade, dataclasses.replace(plain.sampling, **BATCHES)
    )
    budget = found.needed(4, 2, 1)
    batches = dict(zip(BATCHES, found.batches(budget), strict=True))
    chosen = Pipeline.from_pretrained(cascade_folder, memory=f"{budget} B").sampling
    assert chosen == dataclasses.replace(plain.sampling, **batches)
    assert found.batches(budget)[0] >= 4


def test_networks_that_do_not_run_keep_batches_of_one(text_pipeline: Path) -> None:
    sampling = Pipeline.from_pretrained(text_pipeline, memory="1 TiB").sampling
    assert (sampling.batch_size, sampling.interpolator_batch, sampling.sr_batch) == (64, 1, 1)


@pytest.mark.parametrize("batches", [(4, 2, 1), (4, 4, 4)])
def test_sampling_takes_no_more_memory_than_counted(batches: tuple[int, int, int], cascade_folder: Path) -> None:
    sampling = dict(zip(BATCHES, batches, strict=True))
    pipeline = Pipeline.from_pretrained(cascade_folder, **sampling)
    counted = SamplingMemory.of(pipeline.cascade, pipeline.sampling)
    networks = [member.network for member in pipeline.cascade.members.values()]
    allocations = Allocations(without=[one for network in networks for one in network.parameters()])
    requests = [TextRequest(prompt=Prompt("a"), fps=8.0, seed=seed) for seed in range(batches[0])]
    with allocations:
        list(pipeline.generate(requests))
    assert 0.7 * counted.needed(*batches) < allocations.peak + counted.weights <= counted.needed(*batches)


def test_finished_clips_are_not_kept_while_others_are_sampled(batched: Pipeline) -> None:
    requests, taken = [TextRequest(prompt=Prompt("a"), fps=8.0, seed=seed) for seed in range(4)], list[int]()
    one_by_one = dataclasses.replace(batched.sampling, sr_batch=1)
    made = SamplingChain(batched.cascade, one_by_one, on_step=lambda: taken.append(1)).run(requests, "sr_high")
    before = []
    for _ in made:
        before.append(len(taken))
    assert before == [18, 30, 45, 57]  # decoder 3, interpolator 3 for each two clips, super-resolution 3 + 9 per clip


def test_the_command_names_a_budget_that_is_too_small_and_writes_nothing(cascade_folder: Path, tmp_path: Path) -> None:
    command = ["generate", "x", "--pipeline", str(cascade_folder), "--out", str(tmp_path / "clips"), "--memory"]
    for size, message in (
        ("1 kB", "--memory: one clip takes"),
        ("1", "--memory: must be a number of bytes with a unit, for example `8 GiB`, got '1'"),
    ):
        done = CliRunner().invoke(app, [*command, size])
        shown = " ".join(str(done.exception).split()) + " ".join(done.output.split())
        assert done.exit_code != 0 and message.removeprefix("--memory: ") in shown
        assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize("name", ["interpolator_batch", "sr_batch"])
def test_no_network_takes_more_clips_at_once_than_the_decoder_samples(name: str) -> None:
    settings = {"size": 8, "frames": 5, "low_factor": 2, "batch_size": 2, name: 3}
    with pytest.raises(UserError, match=r"must be at most batch_size=2, got 3\."):
        Sampling(**settings)
