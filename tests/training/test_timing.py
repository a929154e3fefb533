"""What a training says it took of a CUDA device, told by a stand-in for one."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mav_lightning.training.timing import Cost

Card = Callable[[int], None]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """Makes it seem that this process has used a CUDA device, and so many bytes of it at most."""

    def use(peak: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Stand-in 9000")

    return use


def told(cost: Cost) -> tuple[str | None, int | None]:
    summary = cost.summary(nn.Linear(1, 1), steps=3)
    return summary.get("device"), summary.get("peak_cuda_bytes")


def test_a_training_on_cuda_names_the_device_and_the_most_memory_it_held(card: Card) -> None:
    card(5_000)

    assert told(Cost()) == ("Stand-in 9000", 5_000)


@pytest.mark.parametrize(("then", "most"), [(3_000, 5_000), (7_000, 7_000)])
def test_the_most_memory_is_kept_over_restarts(card: Card, then: int, most: int) -> None:
    card(5_000)
    kept = Cost().state_dict()
    card(then)
    continued = Cost()
    continued.load_state_dict(kept)

    assert told(continued) == ("Stand-in 9000", most)


def test_a_training_on_the_cpu_tells_of_no_device(card: Card) -> None:
    assert told(Cost()) == (None, None)
    card(0)  # some library has woken it up and left it empty
    assert told(Cost()) == (None, None)


def test_a_checkpoint_from_before_cuda_memory_was_counted_is_continued(card: Card) -> None:
    kept = Cost().state_dict()
    del kept["peak_cuda"]
    continued = Cost()
    continued.load_state_dict(kept)
    card(7_000)

    assert told(continued) == ("Stand-in 9000", 7_000)
