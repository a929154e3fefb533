"""What counts of a config, and the first key in which two runs differ."""

import pytest

from mav_lightning.common.identity import Difference, first_difference, identity_sha256, without_harmless

RUN = {"results": 1, "seed": 0, "fit": {"steps": 5}, "module": {"dims": [16, 32], "net": {}}}


def test_equal_identities_have_no_difference_and_one_hash() -> None:
    same = {"module": {"net": {}, "dims": [16, 32]}, "fit": {"steps": 5.0}, "seed": 0, "results": 1}
    assert first_difference(RUN, same) is None
    assert identity_sha256(RUN) == identity_sha256(dict(reversed(RUN.items())))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, ("seed", "0", "1")),
        ({"fit": {"steps": 6}}, ("fit.steps", "5", "6")),
        ({"fit": {"steps": 5, "ema": None}}, ("fit.ema", "nothing", "None")),
        ({"fit": {}}, ("fit", "nothing", "'{}'")),
        ({"module": {"dims": [16], "net": {}}}, ("module.dims.1", "32", "nothing")),
        ({"module": {"dims": [16, 32], "net": None}}, ("module.net", "'{}'", "None")),
        ({"seed": 1, "results": 2}, ("results", "1", "2")),
    ],
)
def test_the_first_key_that_differs_is_named_with_both_values(
    change: dict[str, object], difference: tuple[str, str, str]
) -> None:
    assert first_difference(RUN, RUN | change) == Difference(*difference)


def test_harmless_keys_and_hashed_paths_do_not_count() -> None:
    config = {"name": "a", "trainer": {"accelerator": "cpu"}, "data": {"root": "x", "root_sha256": "1", "workers": 3}}
    assert without_harmless(config) == {"data": {"root_sha256": "1"}}


def test_of_all_strategies_only_fsdp2_counts() -> None:
    assert without_harmless({"trainer": {"strategy": "ddp"}}) == {}
    assert without_harmless({"trainer": {"strategy": "fsdp2"}}) == {"trainer": {"strategy": "fsdp2"}}
