"""The paper's recipe: what its configs specify, and all of it at the size of a doll."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doll_clip import write_doll_clip

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.tracking import untracked
from mav_lightning.config import load_config
from mav_lightning.runs.execute import run_stage
from mav_lightning.runs.recipe import load_recipe, plan_recipe
from mav_lightning.runs.stage_folder import StageFolder

DECODERS = ("spatial", "temporal", "interpolator")
SR = {"sr_low_image": (32, 32), "sr_low": (32, 32), "sr_high": (96, 24)}  # size and crop


def test_the_decoder_is_trained_as_in_the_paper() -> None:
    config = load_config("stage/temporal_paper.yaml")
    fps, module = config["data"]["fps"], config["module"]
    assert fps["_target_"].endswith(".BetaFps") and (fps["low"], fps["high"]) == (1.0, 30.0)
    assert fps["first"] > fps["last"], "from high to low frame rates"
    steps = config["fit"]["steps"] * config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"]
    assert fps["clips"] == steps
    assert module["denoising"]["clip_condition"] == "first" and config["frames"] == 16
    assert {load_config(f"stage/{stage}_paper.yaml")["module"]["denoiser"]["_target_"] for stage in DECODERS} == {
        "mav_lightning.diffusion.denoiser.HybridDenoiser"
    }


def doll_settings(shards: Path, clip: Path) -> dict[str, Any]:
    """The recipe's own stages with small networks, pictures and numbers of steps; its 16 frames and skip 5 are kept."""
    sha256 = hashlib.sha256((clip / "model.safetensors").read_bytes()).hexdigest()
    settings: dict[str, Any] = {"clip.task.source": str(clip), "clip.task.source_sha256": sha256}
    settings |= {f"{data}.task.root": str(shards) for data in ("images", "clips", "sr_clips")}
    net = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "mid_blocks": 1, "head_channels": 8}
    for stage in ("prior", *DECODERS, *SR):
        settings |= {f"{stage}.data.batch_size": 2, f"{stage}.data.workers": 0, f"{stage}.fit.steps": 2}
        if stage != "prior":
            settings |= {f"{stage}.trainer.precision": "32-true"}
            settings |= {f"{stage}.module.denoiser.net.{name}": value for name, value in net.items()}
    for stage in DECODERS:
        settings |= {f"{stage}.size": 8, f"{stage}.module.denoiser.net.attention": [1]}
        settings |= {f"{stage}.module.denoiser.net.cond_channels": 12}
    settings |= {f"temporal.trainer.{key}": 1 for key in ("accumulate_grad_batches", "val_check_interval")}
    settings |= {"interpolator.trainer.accumulate_grad_batches": 1, "temporal.data.fps.clips": 4}
    for stage, (size, crop) in SR.items():
        settings |= {f"{stage}.size": size, f"{stage}.module.crop": crop}
    prior = {"channels": 12, "length": 24, "width": 16, "layers": 1, "heads": 2}
    settings |= {f"prior.module.denoiser.net.{name}": value for name, value in prior.items()}
    return settings | {"prior.size": 8, "pipeline.task.sampling.size": 8, "pipeline.task.sampling.steps": 2}


@pytest.mark.slow  # two minutes: ten stages, each a process of its own
def test_the_whole_recipe_runs_and_its_pipeline_generates_76_frames(tmp_path: Path) -> None:
    WriteShapesWorld(images=8, clips=4).run(tmp_path / "shards", seed=0, track=untracked)
    settings = doll_settings(tmp_path / "shards", write_doll_clip(tmp_path / "clip"))
    stages = plan_recipe(load_recipe("recipe/paper.yaml"), settings, None, "doll")
    for name, stage in stages.items():
        folder = StageFolder(tmp_path / "stages" / f"{name}-{stage.id}")
        folder.create(stage)
        run_stage(folder.path)
    pipeline = Pipeline.from_pretrained(folder.artifact)

    clip = pipeline("a red circle", 4.0, 0)

    assert name == "pipeline" and clip.shape == (1, 76, 96, 96, 3) and clip.dtype == np.uint8
    assert pipeline.cascade.rates["decoder"] == (1.0, 30.0)


@pytest.mark.parametrize("recipe", ["paper", "paper_ucf101"])
def test_what_the_user_must_bring_is_open(recipe: str) -> None:
    stages = load_recipe(f"recipe/{recipe}.yaml").stages
    open_keys = {
        f"{name}.{key}"
        for name, spec in stages.items()
        for key in ("root", "prompts")
        if spec.defaults.get("task", {}).get(key) == "???"
    }
    own = {"ucf101.root", "ucf101_sample.prompts"} if recipe == "paper_ucf101" else set()
    assert open_keys == {"images.root", "clips.root", "sr_clips.root"} | own
