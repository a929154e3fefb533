"""A minute of fuzzing finds no exception but the user's, no import, no file touched."""

import pytest
from hostile.fuzz import fuzz


@pytest.mark.slow
@pytest.mark.parametrize("group", ["models", "data", "media"])
def test_mutated_files_end_in_one_message_and_touch_nothing(group: str) -> None:
    counts, faults = fuzz(60.0, groups=[group])
    assert len(counts) >= 9 and sum(counts.values()) > 100
    assert not faults, "\n".join(faults[:10])
