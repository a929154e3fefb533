"""Study files that write their variants in short, and budgets that are equal."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.budget import Budget, steps_within, training_flops
from mav_lightning.ablation.run import load_plan, run_study
from mav_lightning.ablation.study import Study
from mav_lightning.ablation.study_file import load_study
from mav_lightning.ablation.study_plan import Plan, plan_study, read_plan
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError
from mav_lightning.config import find_config, load_config
from mav_lightning.flops import network_cost
from mav_lightning.networks.card import Card, write_card

Write = Callable[..., Path]
VARIANTS = "variants:\n  temporal: {}\n  per_frame: {sample.needs.decoder: spatial}\n"
GRID = """{section}:
  decoder: {{temporal: {{}}, spatial: {{sample.needs.decoder: spatial}}}}
  size: {{small: {{sample.size: 8}}, large: {{}}}}
"""


def study(file: Path, *overrides: str) -> Study:
    return load_study(file, overrides)[0]


def grid(section: str) -> tuple[tuple[str, str], ...]:
    return (VARIANTS, GRID.format(section=section)), ("baseline: temporal", "baseline: temporal+small")


def test_a_product_is_every_level_with_every_other(write_study: Write) -> None:
    found = study(write_study(*grid("product")))

    assert list(found.variants) == ["temporal+small", "temporal+large", "spatial+small", "spatial+large"]
    assert found.deltas("spatial+small") == {
        "temporal.frames": 9, "sample.needs.decoder": "spatial", "sample.size": 8,
    }  # fmt: skip
    assert found.factors("spatial+small") == ["decoder"] and found.factors("temporal+large") == ["size"]
    assert set(found.factors("spatial+large")) == {"decoder", "size"} and found.warnings == [], "others tell them apart"


def test_pairs_take_levels_in_step(write_study: Write) -> None:
    found = study(write_study(*grid("paired")))

    assert list(found.variants) == ["temporal+small", "spatial+large"]
    assert "differs from temporal+small in 2 factors (size, decoder)" in found.warnings[0]


def test_a_level_may_hold_what_counts_in_a_part_of_its_variants(write_study: Write) -> None:
    longer = "small: {temporal.frames: 4, spatial.frames: 4}"
    grid_of = GRID.format(section="product").replace("small: {sample.size: 8}", longer)
    edits = (VARIANTS, grid_of), ("baseline: temporal", "baseline: temporal+large")
    stages = plan_study(*load_study(write_study(*edits))).trial("spatial+small", 0).stages

    assert "temporal" not in stages and stages["spatial"].config["frames"] == 4
    for old, new in (("spatial.frames: 4", "spatial.frames: 9"), ("temporal.frames: 4", "temporal.frames: 9")):
        with pytest.raises(UserError, match=f"`{new.split(':')[0]}`: the value is 9 without this delta too"):
            plan_study(*load_study(write_study(*edits, (old, new))))


def test_a_level_that_does_nothing_to_one_of_its_variants_is_rejected(write_study: Write) -> None:
    level = ("small: {sample.size: 8}", "small: {temporal.frames: 4}")

    with pytest.raises(UserError, match="variant `spatial.small`: `temporal.frames`: this variant has no stage"):
        plan_study(*load_study(write_study(*grid("product"), level)))


def test_steps_that_a_budget_says_are_not_a_delta_as_well(write_study: Write, tmp_path: Path) -> None:
    file = tmp_path / "equal.yaml"
    file.write_text(
        "extends: ablation/factorized.yaml\nseeds: [0]\nbudget: {stage: temporal, steps: 70}\n"
        "variants: {none: {temporal.module.denoiser.net.temporal_kernel_size: 0, temporal.fit.steps: 40}}\n"
    )

    with pytest.raises(UserError, match="`temporal.fit.steps`: `budget` sets the steps of this stage"):
        load_plan(file)


def test_a_budget_takes_the_place_of_inherited_steps_and_bears_none_beside_it(tmp_path: Path) -> None:
    assert "temporal.fit.steps" in study(find_config("ablation/factorized.yaml")).overrides
    plan = with_budget(tmp_path, "steps: 70")

    assert "temporal.fit.steps" not in plan.study.overrides, "else the report would tell of them"
    with pytest.raises(UserError, match="override `temporal.fit.steps`: `budget` sets the steps of this stage"):
        load_plan(tmp_path / "equal.yaml", ["temporal.fit.steps=100"])


def test_a_variant_of_several_factors_is_warned_of_and_a_group_is_one(write_study: Write) -> None:
    two = "per_frame: {sample.needs.decoder: spatial, sample.size: 8}"
    group = "per_frame: {image alone: {sample.needs.decoder: spatial, sample.size: 8}}"

    assert study(write_study(("per_frame: {sample.needs.decoder: spatial}", two))).warnings == [
        "per_frame differs from temporal in 2 factors (sample.needs.decoder, sample.size); their effects cannot be "
        "separated by this variant alone."
    ]
    grouped = study(write_study(("per_frame: {sample.needs.decoder: spatial}", group)))
    assert grouped.warnings == [] and grouped.factors("per_frame") == ["image alone"]
    assert grouped.deltas("per_frame")["sample.size"] == 8


def test_an_extended_study_keeps_what_is_not_said_anew(write_study: Write, tmp_path: Path) -> None:
    write_study()
    more = tmp_path / "more.yaml"
    more.write_text(
        f"extends: {tmp_path / 'quick.yaml'}\nquestion: And small ones?\nseeds: [5]\n"
        "variants: {small: {sample.size: 8}, per_frame: null}\noverrides: {spatial.frames: 4}\n"
    )
    found = study(more)

    assert (found.name, found.question, found.seeds) == ("more", "And small ones?", [5])
    assert list(found.variants) == ["temporal", "small"], "null takes one out"
    assert found.overrides == {"temporal.frames": 9, "spatial.frames": 4}
    assert [metric.name for metric in found.metrics] == ["shapes-fvd", "law", "flicker", "appearance"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "variants: {per_fram: null}",
            "more.variants.per_fram: null removes an inherited entry, and there is none of this name; inherited are "
            "temporal, per_frame. To add an entry without deltas, write {}. Did you mean `per_frame`?",
        ),
        ("product: {layers: null}", "more.product.layers: null removes an inherited entry"),
    ],
)
def test_what_is_not_inherited_cannot_be_taken_out(
    write_study: Write, tmp_path: Path, entry: str, message: str
) -> None:
    (tmp_path / "more.yaml").write_text(f"extends: {write_study()}\n{entry}\n")

    with pytest.raises(UserError) as caught:
        load_study(tmp_path / "more.yaml")
    assert message in str(caught.value)


def test_null_takes_an_override_out_or_is_its_value(write_study: Write, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(
        f"extends: {write_study()}\noverrides: {{temporal.frames: null, temporal.needs.parent: null}}\n"
    )
    (tmp_path / "most.yaml").write_text(f"extends: {tmp_path / 'more.yaml'}\noverrides: {{sample.size: 8}}\n")

    assert study(tmp_path / "more.yaml").overrides == {"temporal.needs.parent": None}
    assert study(tmp_path / "most.yaml").overrides == {"temporal.needs.parent": None, "sample.size": 8}


def test_what_a_study_extends_stays_as_it_is(write_study: Write, tmp_path: Path) -> None:
    before = plan_study(*load_study(write_study()))
    (tmp_path / "more.yaml").write_text(f"extends: {tmp_path / 'quick.yaml'}\n")

    assert [stage.id for stage in plan_study(*load_study(tmp_path / "more.yaml")).stages] == [
        stage.id for stage in before.stages
    ]


@pytest.fixture
def own_protocol(tmp_path: Path) -> Path:
    """Copy `shapes-tiny` with another seed."""
    text = (conf_root() / "protocol" / "shapes-tiny.yaml").read_text()
    assert text.count("\nseed: 0") == 1
    own = tmp_path / "own-protocol.yaml"
    own.write_text(text.replace("\nseed: 0", "\nseed: 7"))
    return own


def test_a_protocol_of_the_study_replaces_the_recipes(own_protocol: Path) -> None:
    one, recipe = load_study("ablation/quick.yaml")
    plain = plan_study(one, recipe).trials[0].score.config["protocol"]
    changed = plan_study(replace(one, protocol=str(own_protocol)), recipe).trials[0].score.config["protocol"]

    assert (plain["name"], plain["seed"]) == ("shapes-tiny", 0)
    assert (changed["name"], changed["seed"]) == (str(own_protocol), 7)


def steps(plan: Plan) -> dict[str, int]:
    return {trial.variant: trial.stages["temporal"].config["fit"]["steps"] for trial in plan.trials}


def with_budget(tmp_path: Path, budget: str) -> Plan:
    file = tmp_path / "equal.yaml"
    file.write_text(f"extends: ablation/factorized.yaml\nseeds: [0]\nbudget: {{stage: temporal, {budget}}}\n")
    return plan_study(*load_study(file))


def test_floors_are_cut_under_the_studys_protocol_and_identified_by_what_it_says(
    tmp_path: Path, own_protocol: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"extends: ablation/baselines.yaml\nprotocol: {own_protocol}\nseeds: [0]\n")
    stages = load_plan(file).trial("static", 0).stages

    for name in ("static", "score"):
        assert stages[name].config["protocol"]["name"] == str(own_protocol)
        assert stages[name].config["protocol"]["seed"] == 7
    assert stages["static"].config["task"]["protocol"] == str(own_protocol)


def test_accumulated_batches_are_samples_of_one_step() -> None:
    config = dict(load_plan("ablation/factorized.yaml", ["seeds=[0]"]).trial("both", 0).stages["temporal"].config)
    four, devices = (config | {"trainer": own} for own in ({"accumulate_grad_batches": 4}, {"devices": [0, 1, 2, 3]}))

    assert steps_within(Budget("temporal", samples=6400), config) == 400
    assert steps_within(Budget("temporal", samples=6400), four) == 100
    assert steps_within(Budget("temporal", samples=6400), devices) == 100
    assert training_flops(four) == training_flops(devices) == 4 * (training_flops(config) or 0)


def test_equal_samples_and_equal_steps_are_steps_in_the_configs(tmp_path: Path) -> None:
    assert set(steps(with_budget(tmp_path, "samples: 16015")).values()) == {1000}, "batches are of 16"
    assert set(steps(with_budget(tmp_path, "steps: 70")).values()) == {70}


def test_equal_flops_are_more_steps_for_what_costs_less_and_never_exceed_the_budget(tmp_path: Path) -> None:
    plan, flops = with_budget(tmp_path, "flops: 1.0e+13"), 1e13
    found = steps(plan)

    assert found["none"] > found["convolution"] > found["both"] > found["full_3d"]
    for trial in plan.trials:
        config = trial.stages["temporal"].config
        step = network_cost(config).flops * config["data"]["batch_size"]
        assert flops - step < found[trial.variant] * step <= flops


def test_the_operations_of_a_training_are_those_of_a_sample_times_samples() -> None:
    stages = load_plan("ablation/factorized.yaml", ["seeds=[0]"]).trial("both", 0).stages
    temporal = stages["temporal"].config

    assert training_flops(temporal) == network_cost(temporal).flops * 16 * 300
    assert training_flops(stages["clip"].config) == training_flops(stages["sample"].config) == 0, "no denoiser"


def test_the_operations_of_a_network_that_another_stage_wrote_are_counted_from_its_folder(tmp_path: Path) -> None:
    config = load_config("stage/temporal_tiny.yaml")
    grown = {**config, "module": {**config["module"], "denoiser": {"_network_": "@parent"}}}
    write_card(tmp_path, Card.of(config["module"]["denoiser"]))

    assert training_flops(grown) is None, "its folder is not known"
    assert training_flops(grown, {"parent": tmp_path}) == training_flops(config)


def test_a_budget_changes_the_ids_and_is_written_with_the_study(write_study: Write, tmp_path: Path) -> None:
    plain = load_config("stage/temporal_tiny.yaml")
    assert steps_within(Budget("temporal", samples=3), plain) == 1, "one step is always taken"
    one, two = (with_budget(tmp_path, f"steps: {count}") for count in (70, 71))
    for name, shared in (("spatial", True), ("temporal", False)):
        assert (one.trials[0].stages[name].id == two.trials[0].stages[name].id) is shared


def test_a_frozen_study_is_read_back_whole(write_study: Write, stubs: Any, tmp_path: Path) -> None:
    file = write_study(*grid("product"), ("seeds: [0, 1]", "seeds: [0]\nthreads: 1"))
    run = run_study(file, tmp_path / "out", executor=stubs)

    assert read_plan(tmp_path / "out") == run.plan


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (grid("paired") + (("small: {sample.size: 8}, ", ""),), "but decoder has 2, size has 1."),
        (((VARIANTS, "product: [1, 2]\n"),), "quick.product: must be a mapping"),
        (((VARIANTS, "product: {size: {small: 8}}\n"),), "quick.product.size.small: must be a mapping"),
        (
            (*grid("product"), ("sample.size: 8", "sample.needs.decoder: spatial")),
            "quick.variants.spatial+small: both `decoder` and `size` set `sample.needs.decoder`",
        ),
        (
            ((VARIANTS, VARIANTS + "product: {a: {temporal: {}}}\n"),),
            "quick.variants.temporal: two variants have this name",
        ),
        (
            (("seeds:", "budget: {stage: temporl, steps: 3}\nseeds:"),),
            "quick.budget.stage: the recipe has no stage `temporl`",
        ),
        ((("seeds:", "budget: {stage: temporal}\nseeds:"),), "budget: give exactly one of steps, samples and flops"),
        (
            (("seeds:", "budget: {stage: temporal, steps: 0}\nseeds:"),),
            "quick.budget.steps: must be a finite number above 0",
        ),
        ((("seeds:", "budget: {steps: 3}\nseeds:"),), "`Budget` needs"),
        ((("seeds:", "budget: {stage: a, step: 3}\nseeds:"),), "Did you mean `steps`?"),
        ((("seeds:", "budget: {stage: temporal, samples: 3}\nseeds:"),), "has no data.batch_size"),
        ((("seeds:", "protocol: shapes-tinny\nseeds:"),), "`shapes-tinny`"),
        ((("seeds:", "extends: quick_study.yaml\nseeds:"),), "quick_study.yaml: no such config"),
    ],
)
def test_what_is_wrong_in_a_study_is_rejected(
    write_study: Write, edits: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan_study(*load_study(write_study(*edits)))

    assert message in str(caught.value)


def test_studies_that_extend_each_other_are_rejected(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {tmp_path / other}.yaml\n")

    with pytest.raises(UserError, match="in a cycle .a.yaml → b.yaml → a.yaml."):
        load_study(tmp_path / "a.yaml")
