"""The cost that a stage without checkpoints records, over its attempts and on its device."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mav_lightning.common.json_files import read_json
from mav_lightning.runs import execute
from mav_lightning.runs.stage_folder import Stage, StageFolder


class Killed(BaseException):
    """Nothing of the stage runs after it, as after SIGKILL."""


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StageFolder]:
    """Starts a sampling of ten clips, two seconds each, and kills it in the clip asked for."""
    folder, now = StageFolder(tmp_path), 100.0
    folder.create(Stage.of("sample", {"kind": "sample"}, {}))
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: now))

    def run(first: int = 0, killed_in: int | None = None) -> StageFolder:
        def sample(config: Any, place: Any, needs: Any, track: Any) -> None:
            nonlocal now
            for clip in track(range(first, 10), 10 - first, "clips"):
                now += 1.0
                if clip == killed_in:
                    raise Killed
                now += 1.0

        monkeypatch.setitem(execute._RUNNERS, "sample", sample)
        execute.run_stage(tmp_path)
        return folder

    return run


def test_a_killed_sampling_counts_the_time_of_every_attempt(attempt: Callable[..., StageFolder]) -> None:
    with pytest.raises(Killed):
        attempt(killed_in=3)
    with pytest.raises(Killed):
        attempt(first=3, killed_in=7)

    folder = attempt(first=7)

    assert read_json(folder.cost_file)["seconds"] == 20.0, "without the halves of two clips that the kills threw away"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("temporal", "temporal"), ("temporal-0123456789abcdef", "temporal-0123456789abcdef"), ("a", "temporal-a")],
)
def test_loggers_show_the_stage_and_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert execute._run_name("temporal", tmp_path / folder) == name


def test_a_kill_before_anything_was_kept_costs_its_own_time_alone(attempt: Callable[..., StageFolder]) -> None:
    with pytest.raises(Killed):
        attempt(killed_in=0)

    assert read_json(attempt().cost_file)["seconds"] == 20.0


def test_a_stage_on_cuda_names_the_device_and_the_most_memory_it_held(
    attempt: Callable[..., StageFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 5_000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Stand-in 9000")

    cost = read_json(attempt().cost_file)

    assert (cost["device"], cost["peak_cuda_bytes"]) == ("Stand-in 9000", 5_000)


def test_a_stage_without_torch_does_not_load_it_to_tell_of_no_device(
    attempt: Callable[..., StageFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch")

    cost = read_json(attempt().cost_file)

    assert "torch" not in sys.modules
    assert not {"device", "peak_cuda_bytes"} & set(cost)
