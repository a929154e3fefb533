from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError
from mav_lightning.config import find_config, instantiate, load_config, resolve_needs
from mav_lightning.runs.ids import stage_id
from mav_lightning.runs.recipe import load_recipe, plan_recipe

STAGES = sorted(conf_root().glob("stage/*.yaml"))
RECIPES = sorted(conf_root().glob("recipe/*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nkind: train\nseed: 3\nsize: 8\n"
        "module:\n  _target_: mav_lightning.nn.small_clip.SmallCLIP\n  size: ${size}\n  channels: 8\n"
    )
    return file


@pytest.mark.parametrize("file", STAGES, ids=lambda path: path.stem)
def test_every_shipped_stage_resolves(file: Path) -> None:
    loaded = load_config(file)
    assert loaded["name"] and not [key for key in loaded if loaded[key] is None]


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_planned(file: Path) -> None:
    recipe = load_recipe(file)
    brought = {"own": {"data.task.root": str(file), "sample.task.prompts": str(file)}}.get(file.stem, {})
    planned = plan_recipe(recipe, brought, seed=1, where=file.name)
    assert set(planned) == set(recipe.stages)
    assert all(stage.config["seed"] == 1 for stage in planned.values() if stage.kind == "train")


@pytest.mark.parametrize("file", [file for file in STAGES if "module" in load_config(file)], ids=lambda path: path.stem)
def test_every_shipped_network_is_built_and_has_something_to_train(file: Path) -> None:
    module = load_config(file)["module"]
    net = instantiate(module["clip" if "clip" in module else "denoiser"])
    assert any(parameter.requires_grad for parameter in net.parameters())


def test_interpolations_follow_overrides(config: Path) -> None:
    assert load_config(config, ["size=16"])["module"]["size"] == 16


def test_defaults_of_the_target_are_filled_in(config: Path) -> None:
    assert load_config(config)["module"]["vocabulary"] == 2048


def test_an_override_may_set_an_argument_that_the_file_does_not_name(config: Path) -> None:
    assert load_config(config, ["module.width=16"])["module"]["width"] == 16


def test_built_objects_got_plain_values(config: Path) -> None:
    clip = instantiate(load_config(config)["module"])
    assert type(clip.size) is int and clip.size == 8


def test_a_partial_waits_for_its_last_arguments() -> None:
    make = instantiate({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    import torch

    assert make([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"] == 0.5


def test_bases_are_merged_under_the_file(tmp_path: Path, config: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(f"bases: [{config}]\nname: child\nmodule: {{channels: 4}}\n")
    loaded = load_config(child)
    assert (loaded["name"], loaded["seed"], loaded["module"]["channels"]) == ("child", 3, 4)


def test_seed_zero_is_kept(config: Path) -> None:
    assert load_config(config, ["seed=0"])["seed"] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sizee=4", r"override `sizee`: no such key in .*mine.yaml; did you mean `size`\?"),
        ("module.chanels=4", r"override `module.chanels`: no such key .*; did you mean `channels`\?"),
        ("modul.size=4", "has no `modul` to set it in"),
        ("size", "override `size`: must read key=value, for example"),
        ("seed=three", "`seed`: .*three"),
        ("kind=trian", "`kind` must be one of data, train, pipeline, sample, score, got 'trian'"),
        ("trainer.max_stepz=4", r"has no argument `max_stepz`; did you mean `max_steps`\?|no such key"),
        ("module._target_=os.system", "_target_ `os.system`: not allowed; targets start with"),
        ("module._target_=mav_lightning.nn.small_clip.SmolCLIP", "cannot be imported"),
        ("protocol=shapes-tyni", r"protocol `shapes-tyni`: unknown; did you mean `shapes-tiny`\?"),
    ],
)
def test_a_wrong_override_is_told_with_the_way_out(config: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(config, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML|not a readable config"),
        ("- a\n- b\n", "must hold `key: value` pairs"),
        ("name: x\nkind: train\nsede: 1\n", r"unknown key `sede`; did you mean `seed`\?"),
        (
            "name: x\nkind: train\nfit: {checkpoint_evry: 3}\n",
            r"no argument `checkpoint_evry`; did you mean `checkpoint_every`\?",
        ),
        (
            "name: x\nkind: train\nmodule: {_target_: mav_lightning.checkpoint.load_network}\n",
            "needs the argument `folder`",
        ),
        ("name: x\nkind: train\nseed: ${nothing}\n", "nothing"),
        ("name: ${oc.env:HOME}\nkind: train\n", "`oc.env` is not allowed"),
        ("name: !!python/object/apply:os.system ['true']\nkind: train\n", "not valid YAML|not a readable config"),
        ("bases: [no/such.yaml]\nname: x\n", "no/such.yaml: no such config"),
    ],
)
def test_a_wrong_file_is_told_with_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(file)


def test_a_missing_config_suggests_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match=r"did you mean `stage/temporal_tiny.yaml`\?.*mav config --list"):
        find_config("stage/temporal_tinny.yaml")


def test_shipped_configs_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("conf/ablation/quick.yaml") == find_config("ablation/quick.yaml")


def test_needs_become_folders_and_a_missing_one_is_named() -> None:
    config = {"needs": {"clip": "@clip"}, "data": {"root": "@data/shards"}, "list": ["@clip"]}
    resolved = resolve_needs(config, {"clip": Path("/a"), "data": Path("/b")})
    assert resolved == {"needs": {"clip": "/a"}, "data": {"root": "/b/shards"}, "list": ["/a"]}
    with pytest.raises(UserError, match="needs.data: no folder given; add `needs.data=DIR`"):
        resolve_needs(config, {"clip": Path("/a")})


def test_a_score_counts_by_what_its_protocol_says_and_by_the_code_that_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def score() -> dict[str, Any]:
        return load_config("stage/score_tiny.yaml")

    today = score()
    renamed = today | {"protocol": today["protocol"] | {"name": "another"}}
    assert stage_id(renamed, {}) == stage_id(today, {})

    monkeypatch.setattr("mav_lightning.config.MEASURES", today["protocol"]["measures"] + 1)
    assert stage_id(score(), {}) != stage_id(today, {})
