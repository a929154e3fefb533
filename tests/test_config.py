import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datamodules.index import build_index
from datamodules.shards import write_shards
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
        "module:\n  _target_: mav_lightning.modules.clip_module.CLIPModule\n"
        "  clip: {_target_: mav_lightning.nn.small_clip.SmallCLIP, size: '${size}', channels: 8}\n"
        "  optimizer: {_target_: torch.optim.AdamW, _partial_: true}\n"
        "  schedule: {_target_: mav_lightning.modules.optim.WarmupCosine, steps: 9}\n"
    )
    return file


@pytest.mark.parametrize("file", STAGES, ids=lambda path: path.stem)
def test_every_shipped_stage_resolves(file: Path) -> None:
    loaded = load_config(file)
    assert loaded["name"] and not [key for key in loaded if loaded[key] is None]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image with a caption, in a shard with its index."""
    folder = tmp_path_factory.mktemp("data") / "images"
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    write_shards(folder, iter([{"png": picture.getvalue(), "txt": b"a black square"}]), 1)
    build_index(folder)
    return folder


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_planned(file: Path, dataset: Path) -> None:
    recipe = load_recipe(file)
    tasks = {name: spec.defaults.get("task", {}) for name, spec in recipe.stages.items()}
    brought = {
        f"{name}.task.{key}": str(dataset if key == "root" else file)
        for name in tasks
        for key in ("root", "prompts")
        if tasks[name].get(key) == "???"
    }
    planned = plan_recipe(recipe, brought, seed=1, where=file.name)
    assert set(planned) == set(recipe.stages)
    trained = [stage for stage in planned.values() if stage.kind == "train" and "AdoptCLIP" not in str(stage.config)]
    assert all(stage.config["seed"] == recipe.stages[stage.name].settings.get("seed", 1) for stage in trained)


@pytest.mark.parametrize("file", [file for file in STAGES if "module" in load_config(file)], ids=lambda path: path.stem)
def test_every_shipped_network_is_built_and_has_something_to_train(file: Path) -> None:
    module = load_config(file)["module"]
    node = module["clip" if "clip" in module else "denoiser"]
    if "_network_" in node:
        pytest.skip("trains a stored network")
    with torch.device("meta"):  # `paper` would take 5 GB
        net = instantiate(node)
    assert any(parameter.requires_grad for parameter in net.parameters())


def test_interpolations_follow_overrides(config: Path) -> None:
    assert load_config(config, ["size=16"])["module"]["clip"]["size"] == 16


def test_defaults_of_the_target_are_filled_in(config: Path) -> None:
    assert load_config(config)["module"]["clip"]["vocabulary"] == 2048


def test_defaults_of_dataclasses_are_filled_in() -> None:
    task = load_config("stage/sample_tiny.yaml")["task"]
    assert task["sampling"]["sampler"] == "dpm++2m"
    assert task["networks"]["interpolator"] is None


def test_an_override_may_set_an_argument_that_the_file_does_not_name(config: Path) -> None:
    assert load_config(config, ["module.clip.width=16"])["module"]["clip"]["width"] == 16


def test_built_objects_got_plain_values(config: Path) -> None:
    clip = instantiate(load_config(config)["module"]["clip"])
    assert type(clip.size) is int and clip.size == 8


def test_a_partial_waits_for_its_last_arguments() -> None:
    make = instantiate({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    assert make([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"] == 0.5


def test_bases_are_merged_under_the_file(tmp_path: Path, config: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(f"bases: [{config}]\nname: child\nmodule: {{clip: {{channels: 4}}}}\n")
    loaded = load_config(child)
    assert (loaded["name"], loaded["seed"], loaded["module"]["clip"]["channels"]) == ("child", 3, 4)


def test_seed_zero_is_kept(config: Path) -> None:
    assert load_config(config, ["seed=0"])["seed"] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size=010", r"override `size`: the value is not YAML \(line 1: `010` is octal or sexagesimal"),
        ("sizee=4", r"override `sizee`: no such key in .*mine.yaml. Did you mean `size`\?"),
        ("module.clip.chanels=4", r"override `module.clip.chanels`: no such key .*. Did you mean `channels`\?"),
        ("modul.size=4", "has no `modul` to set it in"),
        ("size", "override `size`: must read key=value, for example"),
        ("seed=three", "seed: must be a whole number ≥ 0 .* or null, got 'three'"),
        ("seed=1180591620717411303424", "seed: must be a whole number ≥ 0 and ≤ 9223372036854775807"),
        ("size=0", r"size: must be a whole number above 0 or null, got 0"),
        ("kind=trian", r"kind: must be one of `data`, `train`.*, got 'trian'. Did you mean `train`\?"),
        ("name=../..", "name: must be letters, digits"),
        ("trainer.max_stepz=4", r"no such key .*. Did you mean `max_steps`\?"),
        ("fit.stepz=4", r"no such key .*. Did you mean `steps`\?"),
        ("fit.steps=abc", "fit.steps: must be a whole number"),
        ("fit=5", "fit: must be a mapping"),
        ("trainer.precision=bf17-mixed", r"trainer.precision: must be .*. Did you mean `bf16-mixed`\?"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true: it keeps the weights in less .*; use bf16-mixed"),
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: cannot be resumed exactly.*; use fsdp2"),
        ("trainer.barebones=true", "trainer.barebones=True: it turns off checkpoints"),
        ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps: must be a whole number ≥ 0, got -1"),
        ("module.clip.channels=many", "module.clip.channels: must be a whole number.*, got 'many'"),
        ("module.clip.channels=1e400", "module.clip.channels: must be a finite number, got inf"),
        ("module.optimizer.lr=.nan", "module.optimizer.lr: must be .*a finite number.*, got nan"),
        ("module.optimizer._partial_=5", "module.optimizer._partial_: must be true or false, got 5"),
        ("module.optimizer._partial_=false", "module.optimizer"),
        ("module.schedule=5", "module.schedule: must be a node with `_target_`.*, got 5"),
        ("module.clip=null", "module.clip: must be a node with `_target_` that builds a SmallCLIP, got null|got None"),
        ("module._target_=os.system", "module._target_: `os.system` is not allowed; .* add --allow os"),
        ("module._target_=5", "module._target_: must be the dotted name of a class, got 5"),
        ("module._target_=mav_lightning.nn.small_clip.SmallCLIP", "a SmallCLIP is not a LightningModule"),
        (
            "module.clip._target_=mav_lightning.nn.small_clip.SmolCLIP",
            r"has no public class `SmolCLIP`.*. Did you mean `mav_lightning.nn.small_clip.SmallCLIP`\?",
        ),
        ("module.clip._target_=mav_lightning.nn.small_clip.F", "no public class `F`"),
        ("module.clip._target_=mav_lightning.nn.small_clip._down", "is private"),
        ("module._target_=mav_lightning.runs.job.Job", "is not allowed"),
        ("module.clip._target_=mav_lightning.nn.gone.A", "cannot be imported"),
        ("module.clip={_network_: runs/clip, size: 3}", "module.clip.size: a stored network takes no arguments"),
        ("module.clip={_network_: 5}", "module.clip._network_: must be text, got 5"),
        ("protocol=shapes-tyni", r"there is no protocol `shapes-tyni`.*. Did you mean `shapes-tiny`\?"),
    ],
)
def test_a_wrong_override_is_rejected_with_the_way_out(config: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(config, [override])
    assert str(caught.value).count("Did you mean") <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not a readable YAML file"),
        ("- a\n- b\n", "must hold `key: value` pairs"),
        ("", "must hold|name: is missing"),
        ("5: 3\nname: x\nkind: train\n", "`5` must be text"),
        ("name: x\nkind: train\nsede: 1\n", r"no argument `sede`.*. Did you mean `seed`\?"),
        (
            "name: x\nkind: train\nfit: {checkpoint_evry: 3}\n",
            r"no argument `checkpoint_evry`.*. Did you mean `checkpoint_every`\?",
        ),
        ("name: x\nkind: train\nfit: {out: here}\n", "fit.out: is given by the run itself"),
        ("name: x\nkind: train\nfit: hello\n", "fit: must be a mapping"),
        ("name: x\nkind: train\ntrainer: 5\n", "trainer: must be a mapping"),
        ("name: x\nkind: train\nneeds: [a]\n", "needs: must be a mapping"),
        (
            "name: x\nkind: train\nmodule: {_target_: mav_lightning.modules.decoder.TemporalDecoder}\n",
            "module.denoiser: is missing",
        ),
        ("name: x\nkind: train\nmodule: 5\n", "module: must be a node with `_target_` that builds a LightningModule"),
        ("name: x\nkind: train\nseed: ${nothing}\n", "refers to `nothing`, and there is no such key"),
        ("name: x\nkind: train\nseed: 010\n", "line 3: `010` is octal or sexagesimal in YAML; write a decimal number"),
        ("name: x\nkind: train\nfit: {steps: -0_7}\n", "line 3: `-0_7` is octal or sexagesimal"),
        ("name: x\nkind: train\nseed: 1:30\n", "line 3: `1:30` is octal or sexagesimal"),
        ("name: x\nkind: train\nseed: 1:30.5\n", "line 3: `1:30.5` is octal or sexagesimal"),
        ("name: ${name}\nkind: train\n", "refers to itself"),
        ("name: ${oc.env:HOME}\nkind: train\n", "only references to keys are allowed"),
        ("name: '${ oc.env:HOME}'\nkind: train\n", "only references to keys are allowed"),
        ('name: "${oc\\u002eenv:HOME}"\nkind: train\n', "only references to keys are allowed"),
        ('name: "\\x24{oc.env:HOME}"\nkind: train\n', "only references to keys are allowed"),
        ("name: !!python/object/apply:os.system ['true']\nkind: train\n", "not a readable YAML file"),
        ("name: " + "[" * 20_000 + "]" * 20_000 + "\n", "nested too deeply|not a readable YAML file"),
        ("bases: [no/such.yaml]\nname: x\n", "no/such.yaml: no such config"),
        ("bases: 5\nname: x\n", "`bases` must be a list of config files, got 5"),
        ("bases: [5]\nname: x\n", "`bases` must be a list of config files"),
    ],
)
def test_a_wrong_file_is_rejected_with_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(file)


def test_a_file_that_is_its_own_base_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "circle.yaml"
    file.write_text(f"bases: [{file}]\nname: x\nkind: train\n")
    with pytest.raises(UserError, match="`bases` refer back to the file itself"):
        load_config(file)


def test_an_argument_that_is_still_to_be_given_is_named_when_it_is_built(config: Path) -> None:
    loaded = load_config(config, ["module.clip.size=???"])
    with pytest.raises(UserError, match="module.clip.size: is not given; add `module.clip.size=VALUE`"):
        instantiate(loaded["module"], path="module")


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("temporal_tiny", "module.denoiser.net.attention=[7]", "module.denoiser.net.attention: level 7 does not exist"),
        ("temporal_tiny", "module.denoiser.net.temporal_kernel_size=4", "net.temporal_kernel_size: must be odd"),
        ("sample_tiny", "task.sampling.sampler=huen", r"task.sampling.sampler: .*Did you mean `heun`\?"),
        ("sample_tiny", "task.sampling.skip=3", "task.sampling.skip: a frame skip of 3 does not fit 9 frames"),
        ("sample_tiny", "task.sampling.steps=1", "task.sampling.steps: must be a whole number ≥ 2"),
    ],
)
def test_what_only_a_class_knows_is_checked_before_anything_runs(stage: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(f"stage/{stage}.yaml", [override])


def test_checking_a_network_draws_nothing() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    load_config("stage/temporal_tiny.yaml")
    assert torch.equal(torch.rand(2), expected)


def test_a_missing_config_suggests_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match=r"mav config --list.*Did you mean `stage/temporal_tiny.yaml`\?"):
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

    monkeypatch.setattr("evaluation.version.MEASURES", today["protocol"]["measures"] + 1)
    assert stage_id(score(), {}) != stage_id(today, {})
