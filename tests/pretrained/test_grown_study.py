"""A study of a network of diffusers: extended, trained, sampled, scored, and its checkpoint used by other commands."""

import json
from pathlib import Path

import pytest
import tiny_diffusers
from tiny_diffusers import known_sha256
from typer.testing import CliRunner

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.tracking import untracked
from mav_lightning.config import instantiate, load_config
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.flops import network_cost
from mav_lightning.networks.card import Card
from mav_lightning.networks.stored import load_network, write_network
from mav_lightning.runs.execute import run_training
from mav_lightning.runs.recipe import load_recipe


def mav(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output or done.exception
    return done.output


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shards"
    counts = {"images": 12, "clips": 4, "val_images": 2, "val_clips": 2}
    WriteShapesWorld(**counts, size=16, seconds=2.0, fps=16, shard_size=10, processes=1).run(folder)
    return folder


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    text = (Path(__file__).parents[2] / "conf" / "protocol" / "own-tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(text.replace("frames: 9", "frames: 4").replace("clips: 96", "clips: 2"))
    return tmp_path / "tiny.yaml"


@pytest.mark.slow
def test_a_study_of_a_grown_network_runs_to_its_report(
    sources: dict[str, Path], shards: Path, protocol: Path, tmp_path: Path
) -> None:
    source, out = sources["unconditional"], tmp_path / "study"
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    study = tmp_path / "study.yaml"
    small = {
        "data.task.root": shards, "clip.size": 16, "clip.fit.steps": 1, "clip.data.batch_size": 4, "prior.size": 16,
        "prior.task.data.batch_size": 4, "grown.task.source": source, "grown.task.source_sha256": known_sha256(source),
        "temporal.size": 16, "temporal.frames": 4, "temporal.data.batch_size": 2, "temporal.fit.steps": 2,
        "sample.size": 16, "sample.frames": 4, "sample.task.prompts": tmp_path / "prompts.txt",
        "sample.task.per_prompt": 1, "sample.task.sampling.steps": 2, "score.protocol": protocol,
    }  # fmt: skip
    study.write_text(
        "extends: ablation/grown.yaml\nseeds: [0]\n"
        "variants: {low_rank: null, no_convolution: null, frozen: null, no_attention: null}\n"
        "overrides:\n" + "".join(f"  {key}: {value}\n" for key, value in small.items())
    )
    mav("ablate", study, "--out", out)

    report = json.loads((out / "report.json").read_text())
    assert report["trials"] == {"planned": 2, "complete": 2}
    stages = {name: sorted((out / "stages").glob(f"{name}-*")) for name in ("grown", "temporal")}
    assert (len(stages["grown"]), len(stages["temporal"])) == (1, 1)


@pytest.fixture(scope="module")
def unclip_sources(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"clip": tiny_diffusers.clip(tmp_path_factory.mktemp("clip")), "grown": sources["unclip decoder"]}


def unclip_study(folder: Path, sources: dict[str, Path], shards: Path, protocol: Path) -> Path:
    """Write a small study of Karlo's decoder."""
    (folder / "prompts.txt").write_text("a red circle\n")
    small = {
        "data.task.root": shards, "clip.task.source": sources["clip"],
        "clip.task.source_sha256": file_sha256(sources["clip"] / "model.safetensors"),
        "prior.size": 16, "prior.task.network.channels": 16, "prior.task.data.batch_size": 4,
        "grown.task.source": sources["grown"], "grown.task.source_sha256": known_sha256(sources["grown"]),
        "grown.task.grown.cond_norm": 3.5, "temporal.size": 16, "temporal.frames": 4, "temporal.data.batch_size": 2,
        "temporal.fit.steps": 2, "sample.size": 16, "sample.frames": 4, "sample.task.prompts": folder / "prompts.txt",
        "sample.task.per_prompt": 1, "sample.task.sampling.steps": 2, "score.protocol": protocol,
    }  # fmt: skip
    (folder / "study.yaml").write_text(
        "extends: ablation/grown_unclip.yaml\nseeds: [0]\n"
        "variants: {low_rank: null, no_convolution: null, joint: null, no_attention: null}\nbaseline: per_frame\n"
        "overrides:\n" + "".join(f"  {key}: {value}\n" for key, value in small.items())
    )
    return folder / "study.yaml"


def test_a_study_of_the_decoder_of_an_unclip_pipeline_is_planned(
    unclip_sources: dict[str, Path], shards: Path, protocol: Path, tmp_path: Path
) -> None:
    study = unclip_study(tmp_path, unclip_sources, shards, protocol)
    planned = mav("ablate", study, "--dry-run", "--out", tmp_path / "study")
    assert all(name in planned for name in ("clip", "prior", "grown", "temporal", "sample", "score"))
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_of_the_decoder_of_an_unclip_pipeline_runs_to_its_report(
    unclip_sources: dict[str, Path], shards: Path, protocol: Path, tmp_path: Path
) -> None:
    mav("ablate", unclip_study(tmp_path, unclip_sources, shards, protocol), "--out", tmp_path / "study")
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    assert report["trials"] == {"planned": 2, "complete": 2}
    assert report["protocol"]["name"] == str(protocol)
    (grown,) = (tmp_path / "study" / "stages").glob("grown-*")
    assert json.loads((grown / "network.json").read_text())["network"]["net"]["cond_norm"] == 3.5


def test_text_and_a_still_become_clips_that_are_scored(
    sources: dict[str, Path], stages: dict[str, Path], shards: Path, protocol: Path, tmp_path: Path
) -> None:
    tiny_diffusers.grow(sources["unconditional"], tmp_path / "grown", cond_channels=8)
    networks = [word for role in ("clip", "prior", "interpolator") for word in (f"--{role}", stages[role])]
    settings = ["--size", "16", "--frames", "4", "--steps", "2"]
    mav("pipeline", *networks, "--decoder", tmp_path / "grown", *settings, "--out", tmp_path / "pipeline")
    mav("generate", "a red circle", "--pipeline", tmp_path / "pipeline", "--fps", "8", "--no-mark",
        "--out", tmp_path / "clips")  # fmt: skip
    mav("generate", "--animate", still(tmp_path), "--pipeline", tmp_path / "pipeline", "--fps", "8",
        "--out", tmp_path / "one")  # fmt: skip
    mav("evaluate", "--generated", tmp_path / "clips", "--real", shards, "--protocol", protocol,
        "--out", tmp_path / "results.json")  # fmt: skip
    assert json.loads((tmp_path / "results.json").read_text())["metrics"]


def still(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 30, 30)).save(folder / "still.png")
    return folder / "still.png"


def test_the_cost_of_a_grown_stage_is_counted_from_the_description_of_its_network(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    for name, kind in (("grown", "unconditional"), ("karlo", "unclip decoder")):
        tiny_diffusers.grow(sources[kind], tmp_path / name, **({"text_tokens": 20} if name == "karlo" else {}))
        (tmp_path / name / "weights.safetensors").unlink()
        words = [f"needs.grown={tmp_path / name}", "size=16", "frames=4"]
        config = load_config("stage/temporal_grown.yaml", words)
        joint, frozen = network_cost(config), network_cost({**config, "module": {**config["module"], "spatial_lr": 0}})
        assert 0 < joint.temporal < joint.parameters and frozen.flops < joint.flops
        assert "| stage/temporal_grown.yaml |" in mav("cost", "stage/temporal_grown.yaml", *words)
    with pytest.raises(UserError, match="starts from the network of another stage; give its folder, needs.grown=DIR"):
        network_cost(load_config("stage/temporal_grown.yaml"))


def ladder_networks(tmp_path: Path) -> NetDenoiser:
    """Write a new image network of the ladder, and the stage that extends it; return the extended network."""
    stages = load_recipe("recipe/ladder.yaml").stages
    node = stages["image"].defaults["module"]["denoiser"]
    image = instantiate(node)
    write_network(tmp_path / "image", image.state_dict(), Card.of(node))
    run_training(stages["grown"].defaults, tmp_path / "grown", needs={"image": tmp_path / "image"})
    found = load_network(tmp_path / "grown")
    assert isinstance(found, NetDenoiser)
    return found


def test_the_ladder_extends_what_it_saved_in_the_format_of_diffusers_without_changing_a_frame(tmp_path: Path) -> None:
    import diffusers
    import torch

    grown, image = ladder_networks(tmp_path), load_network(tmp_path / "image")
    saved = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / "grown" / "diffusers" / "unet")
    state = image.net.state_dict()  # type: ignore[union-attr, operator]
    names = image.net.source_names()  # type: ignore[union-attr, operator]
    assert all(torch.equal(saved.state_dict()[theirs], state[ours]) for ours, theirs in names.items())

    x, sigma, cond = torch.randn(2, 3, 5, 16, 16), torch.tensor([0.5, 3.0]), torch.randn(2, 64)
    with torch.no_grad():
        clip = grown(x, sigma, cond, torch.tensor([8.0, 4.0])).x0
        frames = image(x.transpose(1, 2).flatten(0, 1), sigma.repeat_interleave(5), cond.repeat_interleave(5, 0)).x0
    torch.testing.assert_close(clip, frames.unflatten(0, (2, 5)).transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert json.loads((tmp_path / "grown" / "grown.json").read_text())["certificate"]["error"] < 1e-12


def test_what_diffusers_has_no_place_for_is_refused_when_a_trained_network_is_extended(tmp_path: Path) -> None:
    import torch

    from mav_lightning.pretrained.grow_task import GrowTrained
    from mav_lightning.pretrained.grown_unet import GrownUNet

    source = tiny_diffusers.unconditional(tmp_path / "source")
    denoiser = tiny_diffusers.grow(source, tmp_path / "image", temporal_kernel_size=0, temporal_attention=False,
                                   fps="off", cond_channels=8)  # fmt: skip
    torch.nn.init.ones_(denoiser.net.conditioning.cond_proj.weight)  # type: ignore[union-attr, arg-type]
    write_network(tmp_path / "image", denoiser.state_dict())
    with pytest.raises(UserError, match="1 of its weights have no place in diffusers' format, first `conditioning"):
        GrowTrained(tmp_path / "image", GrownUNet).run(tmp_path / "grown", seed=None, track=untracked)
    assert not (tmp_path / "grown" / "weights.safetensors").exists()
