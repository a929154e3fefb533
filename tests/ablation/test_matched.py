"""Siblings at one seed differ in what is ablated and in nothing else, in the studies as they are shipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import Trial
from mav_lightning.config import instantiate, resolve_needs
from mav_lightning.networks.card import Card
from mav_lightning.networks.stored import write_network
from mav_lightning.training.rng import SeedEveryBatch

SEED = 3


@dataclass
class Seen:
    """What a variant's network starts as and is given."""

    weights: dict[str, Tensor]
    inputs: list[tuple[Tensor, ...]]
    temporal: set[str]


@pytest.fixture(scope="module")
def needs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data, and an untrained CLIP and image decoder of the quick recipe, as stages leave them."""
    root = tmp_path_factory.mktemp("stages")
    WriteShapesWorld(images=48, clips=48, val_images=12, val_clips=12, processes=1).run(root / "data")
    stages = load_plan("ablation/factorized.yaml", [f"seeds=[{SEED}]"]).trials[0].stages
    for role, name in (("clip", "clip"), ("parent", "spatial")):
        config = stages[name].config
        node = config["module"]["clip" if role == "clip" else "denoiser"]
        write_network(root / role, instantiate(node).state_dict(), Card.of(node))
    return {role: root / role for role in ("data", "clip", "parent")}


def seen(trial: Trial, needs: dict[str, Path], batches: int = 2) -> Seen:
    """Builds the temporal stage as a run does and shows it its first batches."""
    config = resolve_needs(trial.stages["temporal"].config, needs)
    torch.manual_seed(config["seed"])
    module, data = instantiate(config["module"]), instantiate(config["data"])
    data.setup("fit")
    weights = {name: value.clone() for name, value in module.denoiser.state_dict().items()}
    inputs: list[tuple[Tensor, ...]] = []
    module.denoiser.net.register_forward_pre_hook(lambda net, given: inputs.append(given))
    for number, batch in enumerate(islice(data.train_dataloader(), batches)):
        with torch.no_grad(), seeded_as_in_training(number, batch):
            module.losses(batch)
    return Seen(weights, inputs, {f"net.{name}" for name in module.denoiser.net.temporal_names()})


@contextmanager
def seeded_as_in_training(number: int, batch: object) -> Iterator[None]:
    class Loop:
        total_batch_idx = number

    class Trainer:
        global_rank, world_size, global_step, fit_loop = 0, 1, number, Loop()

    seeding, trainer = SeedEveryBatch(SEED), Trainer()
    seeding.on_train_batch_start(trainer, None, batch, 0)  # type: ignore[arg-type]
    yield
    seeding.on_train_batch_end(trainer)  # type: ignore[arg-type]


def trials(study: str) -> dict[str, Trial]:
    return {trial.variant: trial for trial in load_plan(study, [f"seeds=[{SEED}]"]).trials}


@pytest.fixture(scope="module")
def layers(needs: dict[str, Path]) -> dict[str, Seen]:
    return {name: seen(trial, needs) for name, trial in trials("ablation/factorized.yaml").items()}


@pytest.fixture(scope="module")
def fps(needs: dict[str, Path]) -> dict[str, Seen]:
    return {name: seen(trial, needs) for name, trial in trials("ablation/fps.yaml").items()}


def pairs(study: dict[str, Seen], baseline: str) -> Iterator[tuple[str, Seen, Seen]]:
    for name, other in study.items():
        if name != baseline:
            yield name, study[baseline], other


def test_the_networks_of_all_layer_variants_are_given_the_same_noisy_clips(layers: dict[str, Seen]) -> None:
    for name, baseline, other in pairs(layers, "both"):
        assert len(baseline.inputs) == len(other.inputs) == 2
        for ours, theirs in zip(baseline.inputs, other.inputs, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), name


def test_a_study_of_fps_conditioning_shows_the_same_clips_at_the_same_rates(fps: dict[str, Seen]) -> None:
    for name, baseline, other in pairs(fps, "seconds"):
        same = all(torch.equal(a, b) for a, b in zip(baseline.inputs[0], other.inputs[0], strict=True))
        assert same == (name != "curriculum"), "only the curriculum draws other rates"


def test_weights_that_siblings_share_start_equal(layers: dict[str, Seen], fps: dict[str, Seen]) -> None:
    for study, baseline_name in ((layers, "both"), (fps, "seconds")):
        for name, baseline, other in pairs(study, baseline_name):
            shared = [key for key in baseline.weights.keys() & other.weights.keys() if _alike(key, baseline, other)]
            assert len(shared) > 80
            meant = baseline.temporal if name == "random_start" else set[str]()
            unlike = {key for key in shared if not torch.equal(baseline.weights[key], other.weights[key])}
            assert unlike <= meant, (name, unlike - meant)


def test_another_seed_is_another_start_and_another_noise(needs: dict[str, Path], layers: dict[str, Seen]) -> None:
    trial = load_plan("ablation/factorized.yaml", [f"seeds=[{SEED + 1}]"]).trial("both", SEED + 1)
    other = seen(trial, needs, batches=1)

    drawn = [key for key in other.weights if "temporal.qkv.weight" in key]
    assert drawn and not any(torch.equal(other.weights[key], layers["both"].weights[key]) for key in drawn)
    assert not torch.equal(other.inputs[0][0], layers["both"].inputs[0][0]), "another order of clips"


def test_all_variants_sample_the_same_prompts_from_the_same_noise() -> None:
    for study in ("ablation/factorized.yaml", "ablation/fps.yaml"):
        configs: list[dict[str, Any]] = [trial.sample.config for trial in trials(study).values()]
        assert all(config == configs[0] for config in configs)
        assert configs[0]["seed"] == SEED


def _alike(key: str, one: Seen, other: Seen) -> bool:
    """Whether both have the weight's layer in one shape: a bias is drawn within what the layer's inputs allow."""
    layer = key.rpartition(".")[0]
    shapes = (
        {own: w.shape for own, w in some.weights.items() if own.rpartition(".")[0] == layer} for some in (one, other)
    )
    ours, theirs = shapes
    return ours == theirs
