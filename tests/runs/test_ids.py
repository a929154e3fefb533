import inspect
from collections.abc import Callable
from typing import Any

import pytest

from mav_lightning.cascade.pipeline_folder import NetworkFolders
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import ADDED, ADDED_TO_SECTIONS, HARMLESS, with_added
from mav_lightning.common.schema import parameters
from mav_lightning.config.targets import locate
from mav_lightning.runs.ids import stage_id
from mav_lightning.training.fit import fit

CONFIG = {"kind": "train", "seed": 0, "module": {"lr": 1e-3, "dims": [16, 32]}, "trainer": {"precision": "32-true"}}


def changed(path: str, value: object) -> dict:
    """CONFIG with one dotted key set."""
    *parents, last = path.split(".")
    config = node = {key: dict(item) if isinstance(item, dict) else item for key, item in CONFIG.items()}
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return config


def test_the_id_is_64_bits_and_never_changes_by_itself() -> None:
    assert stage_id({"kind": "data", "seed": 0}, {}, schema=1) == "805cd3a8f4fbe76e"


def test_the_order_of_keys_does_not_matter() -> None:
    assert stage_id(dict(reversed(CONFIG.items())), {"a": "1", "b": "2"}) == stage_id(CONFIG, {"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "path", sorted({*HARMLESS, "data.workers", "data.clips.cache_mb", "task.data.pin_memory", "task.workers"})
)
def test_keys_that_cannot_change_a_result_do_not_change_the_id(path: str) -> None:
    assert stage_id(changed(path, "anything"), {}) == stage_id(CONFIG, {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 1),
        ("module.lr", 1.0000001e-3),
        ("module.dims", [32, 16]),
        ("module.name", "x"),  # only the top-level name is a mere name
        ("trainer.precision", "bf16-mixed"),
        ("fit.steps", 3),
    ],
)
def test_everything_else_changes_the_id(path: str, value: object) -> None:
    assert stage_id(changed(path, value), {}) != stage_id(CONFIG, {})


def test_the_number_of_devices_counts_and_not_which_they_are() -> None:
    one = {stage_id(changed("trainer.devices", devices), {}) for devices in (1, [0], [3])}
    two = {stage_id(changed("trainer.devices", devices), {}) for devices in (2, [0, 1], [2, 3])}

    assert one == {stage_id(CONFIG, {})} and len(two) == 1 and two != one
    assert stage_id(changed("trainer.num_nodes", 2), {}) in two
    assert stage_id(CONFIG | {"trainer": {"devices": 1}}, {}) == stage_id(CONFIG | {"trainer": {}}, {})


@pytest.mark.parametrize("devices", ["auto", -1, 0, [], "0,1", True])
def test_a_number_of_devices_that_the_machine_decides_is_refused(devices: object) -> None:
    with pytest.raises(UserError, match=r"trainer.devices: must be an integer of 1 or more, or a list.*got "):
        stage_id(changed("trainer.devices", devices), {})


def test_needed_stages_and_the_schema_are_part_of_the_id() -> None:
    ids = {
        stage_id(CONFIG, {}),
        stage_id(CONFIG, {"a": "1"}),
        stage_id(CONFIG, {"b": "1"}),
        stage_id(CONFIG, {"a": "2"}),
    }

    assert len(ids | {stage_id(CONFIG, {}, schema=0)}) == 5


def test_a_users_folder_counts_by_its_content_and_not_by_its_path() -> None:
    here, there, other = (
        {"task": {"root": root, "root_sha256": index}} for root, index in (("/a", "1"), ("/b", "1"), ("/a", "2"))
    )

    assert stage_id(here, {}) == stage_id(there, {}) != stage_id(other, {})
    assert stage_id({"task": {"root": "/a"}}, {}) != stage_id({"task": {"root": "/b"}}, {})


def test_a_config_that_is_not_plain_data_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        stage_id({"lr": float("nan")}, {})
    with pytest.raises(TypeError, match="not JSON serializable"):
        stage_id({"lr": object()}, {})


def test_an_argument_added_later_counts_only_where_it_changes_the_result() -> None:
    for target, added in ADDED.items():
        old = {"module": {"_target_": target, "channels": 16}}
        assert stage_id({"module": old["module"] | added}, {}) == stage_id(old, {})
        for argument in added:
            assert stage_id({"module": old["module"] | {argument: "another"}}, {}) != stage_id(old, {})


def test_an_earlier_config_gets_what_was_added_at_the_value_it_was_computed_with() -> None:
    net = "mav_lightning.nn.unet.SpaceTimeUNet"
    old = {"fit": {"steps": 3}, "module": {"net": {"_target_": net, "temporal_causal": True}}, "list": [{"a": 1}]}

    found = with_added(old)

    assert found["fit"] == {"steps": 3, "compile": False}
    assert found["module"]["net"] == {"_target_": net, **ADDED[net], "temporal_causal": True}
    assert found["list"] == old["list"]
    assert stage_id(found, {}) == stage_id(old, {})


@pytest.mark.parametrize("path", ADDED_TO_SECTIONS)
def test_an_argument_added_later_to_a_section_counts_only_where_it_changes_the_result(path: str) -> None:
    def config(**added: object) -> dict[str, Any]:
        section: dict[str, Any] = {"steps": 3} | added
        for name in reversed(path.split(".")):
            section = {name: section}
        return section

    neutral = ADDED_TO_SECTIONS[path]
    assert stage_id(config(**neutral), {}) == stage_id(config(), {})
    for argument in neutral:
        assert stage_id(config(**{argument: "another"}), {}) != stage_id(config(), {})


def test_every_argument_added_later_to_a_section_exists_at_its_neutral_default() -> None:
    calls: dict[str, Callable[..., Any]] = {"fit": fit, "task.networks": NetworkFolders, "task.sampling": Sampling}
    for path, added in ADDED_TO_SECTIONS.items():
        declared = inspect.signature(calls[path]).parameters
        assert {name: declared[name].default for name in added} == dict(added)


def test_every_argument_added_later_exists_at_its_neutral_default() -> None:
    for target, added in ADDED.items():
        declared = parameters(locate(target, "module"))
        assert {name: declared[name].default for name in added} == dict(added)
