import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.differences import config_differences
from mav_lightning.ablation.study_file import load_study
from mav_lightning.ablation.study_plan import Plan, freeze, plan_study
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError
from mav_lightning.runs.ledger import Ledger

Write = Callable[..., Path]


def plan(file: Path, *overrides: str) -> Plan:
    return plan_study(*load_study(file, overrides))


def test_trials_share_every_stage_that_a_variant_does_not_touch(write_study: Write) -> None:
    study = plan(write_study())

    # one data stage for all; per seed one clip, spatial and temporal stage, and two of sample and score
    assert [stage.name for stage in study.stages].count("data") == 1
    assert len(study.stages) == 1 + 2 * (3 + 2 * 2)
    temporal, per_frame = study.trial("temporal", 0), study.trial("per_frame", 0)
    assert per_frame.stages["spatial"] == temporal.stages["spatial"]
    assert "temporal" not in per_frame.stages


def test_trials_of_one_seed_sample_with_the_same_seed(write_study: Write) -> None:
    study = plan(write_study())

    assert [trial.seed for trial in study.trials] == [0, 0, 1, 1]
    assert all(trial.sample.config["seed"] == trial.seed for trial in study.trials)


def test_overrides_reach_all_variants_and_a_variants_own_deltas_win(write_study: Write) -> None:
    edit = ("per_frame: {sample.needs.decoder: spatial}", "small: {temporal.frames: 5}")
    study = plan(write_study(edit), "temporal.frames=7", "seeds=[4]")

    assert study.trial("temporal", 4).stages["temporal"].config["frames"] == 7
    assert study.trial("small", 4).stages["temporal"].config["frames"] == 5


def test_differences_are_those_of_the_resolved_configs(write_study: Write) -> None:
    edit = (
        "per_frame: {sample.needs.decoder: spatial}",
        "small: {temporal.frames: 5, temporal.name: short}\n  none: {sample.needs.decoder: spatial}",
    )  # a name changes no result

    assert config_differences(plan(write_study(edit))) == {
        "small": [{"key": "temporal.frames", "baseline": 9, "value": 5}],
        "none": [
            {"key": "temporal", "baseline": "part of the system", "value": "not needed"},
            {"key": "sample.needs.decoder", "baseline": "temporal", "value": "spatial"},
        ],
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0, 1]", "", "`StudyFile` needs"),
        (
            "seeds: [0, 1]",
            "seedz: [0, 1]",
            "quick.seedz: `StudyFile` has no argument `seedz`; it takes",
        ),
        ("seeds: [0, 1]", "seeds: 3", "quick.seeds: must be a list, each item a whole number ≥ 0"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "quick.seeds: [0, 0] repeats a seed"),
        (
            "seeds: [0, 1]",
            "seeds: [zero]",
            "quick.seeds.0: must be a whole number ≥ 0",
        ),
        (
            "baseline: temporal",
            "baseline: temporl",
            "quick.baseline: there is no variant `temporl`; the variants are temporal, per_frame. Did",
        ),
        (
            "better: lower",
            "better: small",
            "quick.metrics.0.better: must be one of `lower`, `higher`, `one`, `neither`, got 'small'",
        ),
        ("temporal: {}", "temporal: 3", "quick.variants.temporal: must be a mapping of names to values or null, got 3"),
        (
            "{sample.needs.decoder: spatial}",
            "{}",
            "variant `per_frame` changes nothing and equals the baseline",
        ),
        (
            "temporal: {}",
            "temporal: {}\n  a: {temporal.frames: 4}\n  b: {temporal.frames: 4}",
            "`a` and `b` are equal",
        ),
        ("sample.needs.decoder", "sampl.needs.decoder", "variant `per_frame`: `sampl.needs.decoder`: no stage `sampl`"),
        ("temporal.frames: 9", "temporal.framez: 9", "stage `temporal`: override `framez`: no such key"),
        ("recipe:", "recipe: x #", "x: no such config"),
        ("better: lower", "better: neither", "quick.metrics.0.better: must be one of `lower`, `higher`, `one`"),
        ("seeds: [0, 1]", "seeds: [-1]", "quick.seeds.0: must be a whole number ≥ 0"),
        ("seeds: [0, 1]", "seeds: [0.5]", "quick.seeds.0: must be a whole number"),
        ("seeds: [0, 1]", "seeds: [true]", "quick.seeds.0: must be a whole number"),
        ("seeds: [0, 1]", "seeds: [0]\nthreads: two", "quick.threads: must be a whole number"),
        ("seeds: [0, 1]", "seeds: [0]\nallow: mylab", "quick.allow: must be a list"),
        ("seeds: [0, 1]", "seeds: [0]\nallow: [no_such_package_here]", "there is no package `no_such_package_here`"),
        ("seeds: [0, 1]", "seeds: [0]\nextends: [1]", "quick.extends: must be text, got [1]"),
        ("seeds: [0, 1]", "seeds: [0]\nbudget: {stage: temporal, steps: ten}", "quick.budget.steps: must be a finite"),
        ("seeds: [0, 1]", "seeds: [0]\nbudget: {stage: temporal, steps: .inf}", "quick.budget.steps: must be a finite"),
        ("seeds: [0, 1]", "seeds: [0]\nbudget: {stage: temporal, steps: 0}", "quick.budget.steps: must be a finite"),
        ("seeds: [0, 1]", "seeds: [0]\nbudget: {stage: temporal, step: 9}", "Did you mean `steps`?"),
        ("seeds: [0, 1]", "seeds: [0]\nbudget: {steps: 9}", "`Budget` needs"),
        ("temporal.frames: 9", "temporal.frames: none", "stage `temporal`: "),
        ("decoder: spatial", "decoder: [spatial]", "per_frame.sample.needs.decoder: must be text or null"),
        ("  per_frame: {", "#", "`temporal` is the only variant, so there is nothing to compare; add another"),
    ],
)
def test_a_wrong_study_is_rejected_before_anything_runs(write_study: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(write_study((old, new)))

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        (
            "{sample.needs.decoder: spatial, temporal.nett.typo: 1}",
            "quick, variant `per_frame`: `temporal.nett.typo`: this variant has no stage `temporal`, so the key has no "
            "effect; remove it.",
        ),
        (
            "{sample.needs.decoder: spatial, sample.size: 16}",
            "quick, variant `per_frame`: `sample.size`: the value is 16 without this delta too, so it changes nothing; "
            "change the value or remove it.",
        ),
        ("{sample.size: 8, temporal.frames: 9}", "`temporal.frames`: the value is 9 without this delta too"),
        ("{sample.needs.decoder: temporal}", "`sample.needs.decoder`: the value is 'temporal' without this delta too"),
        ("{image alone: {sample.needs.decoder: spatial, temporal.frames: 8}}", "this variant has no stage `temporal`"),
        (
            "{small and same: {sample.size: 8, sample.frames: 9}}",
            "`sample.frames`: the value is 9 without this delta",
        ),
    ],
)
def test_a_delta_without_effect_is_rejected_among_others(write_study: Write, deltas: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(write_study(("{sample.needs.decoder: spatial}", deltas)))

    assert message in str(caught.value)


def test_a_delta_may_take_back_what_the_overrides_say(write_study: Write) -> None:
    study = plan(write_study(("{sample.needs.decoder: spatial}", "{temporal.frames: 8}")))

    assert study.trial("per_frame", 0).stages["temporal"].config["frames"] == 8, "the config's own, the override is 9"


def test_a_delta_counts_that_another_cannot_do_without(tmp_path: Path) -> None:
    file = tmp_path / "alone.yaml"
    file.write_text(
        "extends: ablation/pretraining.yaml\nseeds: [0]\nvariants: {scratch: {temporal.needs.parent: null, "
        "temporal.module.parent: null}}\n"
    )

    assert "parent" not in plan(file).trial("scratch", 0).stages["temporal"].needs


def test_an_override_of_a_stage_that_no_variant_has_is_rejected(write_study: Write) -> None:
    none = ("temporal: {}\n  per_frame: {", "temporal: {sample.size: 8, sample.needs.decoder: spatial}\n  per_frame: {")
    message = (
        "quick: override `temporal.frames`: no variant has the stage `temporal`, so the key has no effect; remove it."
    )

    assert plan(write_study()).study.overrides == {"temporal.frames": 9}, "one variant of the two has the stage"
    with pytest.raises(UserError, match=re.escape(message)):
        plan(write_study(none))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sedes=[1]", "override `sedes`: there is no such key; a study takes seeds, threads"),
        ("temporel.frames=3", "Did you mean `temporal.frames`?"),
        ("threads=0", "quick.threads: must be a whole number above 0, got 0"),
        ("temporal.frames", "override `temporal.frames`: must read key=value"),
    ],
)
def test_a_wrong_override_is_rejected_with_a_suggestion(write_study: Write, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(write_study(), override)

    assert message in str(caught.value)


def test_a_recipe_must_end_in_one_score_of_sampled_clips(write_study: Write, tmp_path: Path) -> None:
    file = write_study()
    (tmp_path / "score.yaml").write_text("name: score\nkind: train\nneeds: {real: '@real', generated: '@generated'}\n")
    with pytest.raises(UserError, match="exactly one stage of kind score, found none"):
        plan(file)

    write_study()
    (tmp_path / "sample.yaml").write_text("name: sample\nkind: data\nneeds: {decoder: '@decoder'}\n")
    with pytest.raises(UserError, match="`score` must need one stage of kind sample, it needs data, data"):
        plan(file)


def test_the_study_of_the_docs_changes_what_it_says(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "studies.md"
    example = tmp_path / "example.yaml"
    example.write_text(page.read_text().split("```yaml\n")[1].split("```")[0])

    study = plan(example)

    assert len(study.trials) == 5 * 3
    curriculum = study.trial("curriculum", 0).stages["temporal"].config["data"]["fps"]
    assert curriculum["_target_"].endswith("BetaFps") and curriculum["low"] == 4.0


# These need shards and prompts of the user; test_metrics.py and tests/pretrained/test_grown_study.py plan them.
SHIPPED = sorted(
    file for file in conf_root().glob("ablation/*.yaml") if file.stem not in ("own", "grown", "grown_unclip")
)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_is_planned_to_the_last_stage(file: Path) -> None:
    plan = plan_study(*load_study(file))
    assert len(plan.trials) == len(plan.study.variants) * len(plan.study.seeds)
    shared = set.intersection(*({stage.id for stage in plan.trial(v, 0).stages.values()} for v in plan.study.variants))
    assert shared, "variants have at least the data in common"
    assert plan.study.warnings == []
    assert len(plan.study.seeds) >= 3 or file.stem == "quick", "two seeds allow no test"
    for trial in plan.trials:
        needed = {trial.score.id, *(id for stage in trial.stages.values() for id in stage.needs.values())}
        assert {stage.id for stage in trial.stages.values()} == needed, "nothing is trained that no score needs"


def test_stages_are_tagged_with_study_variants_and_seed(write_study: Write, tmp_path: Path) -> None:
    study = plan(write_study())
    freeze(study, tmp_path / "out")

    def tags(variant: str, stage: str) -> dict[str, Any]:
        folder = Ledger(tmp_path / "out").folder(study.trial(variant, 1).stages[stage])
        return folder.read_tags()

    assert tags("per_frame", "sample") == {"study": "quick", "variant": "per_frame", "seed": 1}
    assert tags("temporal", "spatial") == {"study": "quick", "variant": "temporal, per_frame", "seed": 1}
    assert tags("temporal", "data") == {"study": "quick", "variant": "temporal, per_frame"}


TYPOS = ("None", "'false'", "maybe", "3", "[true]", "{a: true}")
ATTENTION = "temporal.module.denoiser.net.temporal_attention"


@pytest.mark.parametrize("value", TYPOS)
@pytest.mark.parametrize(
    "section",
    [
        "variants: {plain: {}, without: {KEY: VALUE}}",
        "variants: {plain: {}, without: {attention: {KEY: VALUE}}}",
        "product: {attention: {plain: {}, without: {KEY: VALUE}}}",
        "paired: {attention: {plain: {}, without: {KEY: VALUE}}}",
        "variants: {plain: {}, other: {temporal.module.denoiser.net.channels: 8}}\noverrides: {KEY: VALUE}",
    ],
)
def test_a_value_of_the_wrong_type_is_rejected_everywhere(tmp_path: Path, section: str, value: str) -> None:
    file = tmp_path / "typo.yaml"
    file.write_text(
        "question: Is attention needed?\nrecipe: recipe/quick.yaml\nseeds: [0]\nbaseline: plain\n"
        "metrics: [{name: law, better: higher}]\n" + section.replace("KEY", ATTENTION).replace("VALUE", value)
    )

    with pytest.raises(UserError, match="module.denoiser.net.temporal_attention: must be true or false"):
        plan(file)


def test_an_override_of_the_wrong_type_is_rejected() -> None:
    with pytest.raises(UserError, match="steps: must be a whole number"):
        plan(Path("ablation/quick.yaml"), "temporal.fit.steps=abc")
