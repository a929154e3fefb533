from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.config import resolve_needs
from mav_lightning.runs.recipe import Recipe, load_recipe, plan_recipe

CONFIGS = {
    "data": "kind: data\nsize: 16",
    "spatial": "kind: train\nseed: 0\nframes: 9\nneeds: {data: '@data'}",
    "temporal": "kind: train\nseed: 0\nframes: 9\nneeds: {data: '@data', parent: '@parent'}",
    "sample": "kind: sample\nseed: 0\nneeds: {decoder: '@decoder'}",
}
NEEDS = {"data": "", "spatial": "data: data", "temporal": "data: data, parent: spatial", "sample": "decoder: temporal"}


def write_recipe(folder: Path, **needs: str) -> Path:
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}\n")
    lines = [f"  {name}: {{config: {folder / name}.yaml, needs: {{{NEEDS[name]}}}}}" for name in CONFIGS]
    for name, text in needs.items():
        lines[list(CONFIGS).index(name)] = f"  {name}: {{config: {folder / name}.yaml, needs: {{{text}}}}}"
    (folder / "recipe.yaml").write_text("stages:\n" + "\n".join(reversed(lines)) + "\n")
    return folder / "recipe.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path))


def ids(recipe: Recipe, seed: int = 0, **deltas: Any) -> dict[str, str]:
    named = {key.replace("__", "."): value for key, value in deltas.items()}
    return {name: stage.id for name, stage in plan_recipe(recipe, named, seed, "study").items()}


def test_needed_stages_come_first_whatever_the_files_order(recipe: Recipe) -> None:
    assert list(recipe.stages) == ["data", "spatial", "temporal", "sample"]
    assert recipe.targets == ["sample"]


def test_of_two_stages_that_could_start_the_one_written_first_comes_first(tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    more = f"  {{}}: {{{{config: {tmp_path}/spatial.yaml, needs: {{{{data: data}}}}}}}}\n"
    file.write_text(file.read_text().replace("stages:\n", "stages:\n" + more.format("first")) + more.format("last"))
    assert list(load_recipe(file).stages) == ["data", "first", "spatial", "temporal", "sample", "last"]


def test_a_delta_changes_its_stage_and_what_needs_it(recipe: Recipe) -> None:
    base, changed = ids(recipe), ids(recipe, temporal__frames=8)

    assert {name for name in base if base[name] != changed[name]} == {"temporal", "sample"}


def test_the_seed_reaches_every_stage_that_has_one_and_no_other(recipe: Recipe) -> None:
    zero, one = ids(recipe, seed=0), ids(recipe, seed=1)

    assert {name for name in zero if zero[name] != one[name]} == {"spatial", "temporal", "sample"}


def test_a_stage_whose_seed_the_recipe_sets_is_shared_by_all_seeds(tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    file.write_text(file.read_text().replace("needs: {data: data}}", "needs: {data: data}, set: {seed: 7}}"))
    recipe = load_recipe(file)
    zero, one = ids(recipe, seed=0), ids(recipe, seed=1)

    assert zero["spatial"] == one["spatial"] == ids(recipe, seed=7)["spatial"]
    assert {name for name in zero if zero[name] != one[name]} == {"temporal", "sample"}


def test_a_stage_that_a_delta_makes_needless_is_left_out(recipe: Recipe) -> None:
    assert list(ids(recipe, sample__needs__decoder="spatial")) == ["data", "spatial", "sample"]


def test_a_role_can_be_left_empty_on_purpose(recipe: Recipe) -> None:
    stages = plan_recipe(recipe, {"temporal.needs.parent": None}, 0, "study")

    assert list(stages) == ["data", "temporal", "sample"]
    assert set(stages["temporal"].needs) == {"data"}
    assert resolve_needs(stages["temporal"].config, {"data": Path("d")})["needs"] == {"data": "d"}, "it can be run"


def test_what_still_refers_to_an_empty_role_is_told_with_the_way_out(tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    target = "mav_lightning.modules.decoder.TemporalDecoder"
    parent = f"module: {{_target_: {target}, denoiser: '???', denoising: '???', parent: {{_network_: '@parent'}}}}\n"
    (tmp_path / "temporal.yaml").write_text((tmp_path / "temporal.yaml").read_text() + parent)
    recipe, empty = load_recipe(file), {"temporal.needs.parent": None}
    message = "no stage has the role `parent`, which `module.parent._network_` needs; set `module.parent: null` as well"
    with pytest.raises(UserError, match=message):
        plan_recipe(recipe, empty, 0, "study")
    assert "temporal" in plan_recipe(recipe, {**empty, "temporal.module.parent": None}, 0, "study")


def test_a_recipe_may_set_what_a_stage_starts_from_and_a_delta_overrules_it(tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    plain = load_recipe(file)
    file.write_text(file.read_text().replace("parent: spatial}", "parent: spatial}, set: {frames: 5}"))
    changed = load_recipe(file)

    def frames(recipe: Recipe, **deltas: int) -> int:
        named = {f"temporal.{key}": value for key, value in deltas.items()}
        return plan_recipe(recipe, named, 1, "study")["temporal"].config["frames"]

    assert [frames(plain), frames(changed), frames(changed, frames=7)] == [9, 5, 7]
    assert ids(plain, temporal__frames=5) == ids(changed), "what is set is part of the stage's id, not how"


@pytest.mark.parametrize(
    ("delta", "value", "message"),
    [
        (
            "temporl.frames",
            8,
            "study: `temporl.frames`: no stage `temporl`; the recipe has .*. Did you mean `temporal`?",
        ),
        ("temporal", 8, "study: `temporal` names a stage without a key; write `temporal.<key>`."),
        ("temporal.framez", 8, "study: stage `temporal`: override `framez`: no such key"),
        (
            "sample.needs.decodr",
            "spatial",
            "stage `sample` has no role `decodr`; it needs decoder. Did you mean `decoder`?",
        ),
        (
            "sample.needs.decoder",
            "spatal",
            "`sample.needs.decoder` is `spatal`, which is not a stage; there are .*. Did you mean `spatial`?",
        ),
        ("spatial.needs.data", "sample", "stages need each other in a cycle (.*sample.*); change one of the needs"),
    ],
)
def test_a_wrong_delta_is_told_with_the_way_out(recipe: Recipe, delta: str, value: object, message: str) -> None:
    pattern = message.replace("?", r"\?").replace("..", r"\..")
    with pytest.raises(UserError, match=pattern):
        plan_recipe(recipe, {delta: value}, 0, "study")


def test_a_stage_must_get_the_roles_it_needs_and_no_others(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, temporal="data: data"))
    with pytest.raises(UserError, match="stage `temporal` needs `parent`; add `needs: {parent: <stage>}`"):
        plan_recipe(recipe, {}, 0, "study")

    recipe = load_recipe(write_recipe(tmp_path, spatial="data: data, clop: data"))
    with pytest.raises(UserError, match="stage `spatial` has no role `clop`; it needs data"):
        plan_recipe(recipe, {}, 0, "study")


def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("stage: {}\n")
    with pytest.raises(UserError, match="`RecipeFile` has no argument `stage`"):
        load_recipe(tmp_path / "recipe.yaml")

    (tmp_path / "recipe.yaml").write_text("stages: {data: {conf: x}}\n")
    with pytest.raises(UserError, match=r"stages\.data.*conf.*Did you mean `config`"):
        load_recipe(tmp_path / "recipe.yaml")


def test_a_recipe_that_sets_an_unknown_key_names_its_stage(tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    file.write_text(file.read_text().replace("parent: spatial}", "parent: spatial}, set: {framez: 5}"))
    with pytest.raises(UserError, match="stage `temporal`: override `framez`: no such key in .* Did you mean `frames`"):
        load_recipe(file)


def test_a_stage_that_takes_a_plain_list_of_networks_does_without_one() -> None:
    deltas = {"pipeline.needs.sr_high": None, "pipeline.task.sampling.high_factor": 1}
    stages = plan_recipe(load_recipe("recipe/tiny.yaml"), deltas, None, "study")
    networks = stages["pipeline"].config["task"]["networks"]
    assert {role for role, network in networks.items() if network is not None} == set(stages["pipeline"].needs)
    assert "sr_high" not in stages["pipeline"].needs


@pytest.mark.parametrize("key", ["needs", "set"])
def test_what_is_no_mapping_is_refused(key: str, tmp_path: Path) -> None:
    file = write_recipe(tmp_path)
    file.write_text(f"stages: {{data: {{config: {tmp_path}/data.yaml, {key}: [frames]}}}}")
    with pytest.raises(UserError, match=rf"stages\.data\.{key}: .*mapping"):
        load_recipe(file)
