from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.json_files import write_json
from mav_lightning.runs.eta import estimate
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.stage_folder import Stage

NETWORK = "mav_lightning.nn.prior_transformer.PriorTransformer"


def training(network: str = NETWORK, steps: int = 100, seed: int = 0, name: str = "prior") -> Stage:
    config = {"kind": "train", "seed": seed, "module": {"_target_": "Prior", "net": {"_target_": network}}}
    return Stage.of(name, config | {"fit": {"steps": steps}}, {})


def ridge() -> Stage:
    return Stage.of("prior", {"kind": "train", "task": {"_target_": "mav_lightning.modules.ridge_fit.FitRidge"}}, {})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A folder where a prior of 100 steps took 50 seconds, and a ridge map, there called the prior, 12."""
    ledger = Ledger(tmp_path)
    for stage, seconds in ((training(), 50.0), (ridge(), 12.0)):
        finish(ledger, stage, {"seconds": seconds})
    return ledger


def finish(ledger: Ledger, stage: Stage, done: dict[str, Any]) -> None:
    folder = ledger.folder(stage)
    folder.create(stage)
    write_json(folder.done_file, done)


def left(ledger: Ledger, stage: Stage) -> float | None:
    return estimate(ledger, [stage])[stage.id]


def test_a_training_takes_what_its_sibling_took_by_the_step(ledger: Ledger) -> None:
    assert left(ledger, training(seed=1)) == 50
    assert left(ledger, training(seed=1, steps=300)) == 150


def test_what_is_done_takes_nothing_more(ledger: Ledger) -> None:
    assert left(ledger, training()) == 0


def test_of_several_siblings_the_middle_one_tells(ledger: Ledger) -> None:
    for seed, seconds in ((1, 60.0), (2, 5000.0)):
        finish(ledger, training(seed=seed), {"seconds": seconds})

    assert left(ledger, training(seed=3)) == 60


def test_what_a_stage_has_reported_is_taken_off(ledger: Ledger) -> None:
    begun = training(seed=1)
    folder = ledger.folder(begun)
    folder.create(begun)
    folder.write_progress(80, 100)

    assert left(ledger, begun) == pytest.approx(10)


def test_a_stage_of_the_same_name_that_builds_another_network_tells_nothing(ledger: Ledger) -> None:
    assert left(ledger, training("mav_lightning.nn.ridge_prior.RidgePrior")) is None
    assert left(ledger, training(name="decoder", steps=200)) is None
