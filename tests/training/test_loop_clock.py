"""The clock of the training loop: each part is charged what it takes by itself."""

import itertools
from pathlib import Path

import pytest
import torch

from mav_lightning.runs.profiling import profile_table
from mav_lightning.runs.records import StageCost, read_record
from mav_lightning.training.fit import fit
from mav_lightning.training.loop_clock import DATA_WAIT, FORWARD, LoopClock
from mav_lightning.training.step_profile import StepProfile
from mav_lightning.training.timing import Cost
from tests.training.toy_training import ToyData, ToyModule


def ticking() -> LoopClock:
    """A clock for which a second passes between any two looks."""
    seconds = itertools.count()
    return LoopClock(now=lambda: float(next(seconds)))


def test_a_part_is_not_charged_for_the_parts_it_calls() -> None:
    clock = ticking()
    with clock.profile("[LightningModule]Decoder.optimizer_step"):
        with clock.profile("[Strategy]SingleDeviceStrategy.training_step"):
            pass
        with clock.profile("[Strategy]SingleDeviceStrategy.backward"):
            pass

    assert dict(clock.seconds) == {"optimizer": 3.0, FORWARD: 1.0, "backward": 1.0}


def test_the_wait_for_a_batch_and_callbacks_have_names_of_their_own() -> None:
    clock = ticking()
    with clock.profile("[_TrainingEpochLoop].train_dataloader_next"):
        pass
    with clock.profile("[Callback]EMA.on_train_batch_end"):
        pass

    assert dict(clock.seconds) == {DATA_WAIT: 1.0, "callbacks: EMA, checks and curves": 1.0}


def test_after_an_exception_the_clock_is_idle() -> None:
    clock = ticking()
    clock.start("run_training_epoch")
    clock.teardown("fit")

    assert clock.part is None


@pytest.mark.parametrize(("waited", "told"), [(29.0, False), (31.0, True)])
def test_slow_data_is_told_when_it_cost_a_tenth_of_the_time(waited: float, told: bool) -> None:
    cost = Cost()
    cost.clock.seconds[DATA_WAIT] = waited
    cost.load_state_dict({"seconds": 100.0, "peak": 0, "step_seconds": [], "wait": 0.0})

    assert (cost.slow_data() is not None) == told
    if told:
        assert cost.slow_data() == (
            "waited 31 s of 100 s for data; raise data.workers or data.cache_mb, or store smaller videos."
        )


def test_the_wait_for_data_is_recorded_and_kept_over_a_resume(tmp_path: Path) -> None:
    stopped, continued = Cost(), Cost()
    stopped.clock.seconds[DATA_WAIT] = 3.0
    continued.load_state_dict(stopped.state_dict())
    continued.clock.seconds[DATA_WAIT] = 1.5
    assert continued.summary(torch.nn.Linear(1, 1), 1)["data_wait_seconds"] == 4.5

    fit(ToyModule(), ToyData(), out=tmp_path, steps=3, logger=False)

    cost = read_record(tmp_path / "cost.json", StageCost)  # as a stage reads it
    assert cost is not None and cost.seconds is not None and cost.data_wait_seconds is not None
    assert 0 <= cost.data_wait_seconds <= cost.seconds


def test_the_shares_of_a_profile_add_up_to_the_step(tmp_path: Path) -> None:
    profile = StepProfile()
    fit(ToyModule(), ToyData(), out=tmp_path, steps=6, logger=False, callbacks=[profile])

    assert profile.steps == 3  # of six, the first two and the last do not count
    assert {DATA_WAIT, FORWARD, "backward", "optimizer"} <= profile.parts.keys()
    assert 0 < sum(profile.layers.values()) <= profile.parts[FORWARD]
    table = profile_table(profile)
    milliseconds = [float(line.split("|")[2]) for line in table[2:] if "·" not in line]
    assert sum(milliseconds[:-1]) == pytest.approx(milliseconds[-1], abs=0.1 * len(milliseconds))
