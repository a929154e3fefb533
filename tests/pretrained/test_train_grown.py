"""Networks of diffusers that were extended: trained, sampled from, and back in the format of diffusers."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_diffusers import grow
from typer.testing import CliRunner

from datamodules.batch import ClipBatch
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.networks.card import read_card
from mav_lightning.networks.stored import load_network, write_network
from mav_lightning.pretrained.diffusers_export import export_diffusers
from mav_lightning.pretrained.grow_task import GrowDiffusers
from mav_lightning.pretrained.grown_unet import GrownUNet

diffusers = pytest.importorskip("diffusers")


def losses(module: TemporalDecoder, steps: int) -> list[float]:
    """Train on one clip with the same noise at every step."""
    clip = torch.linspace(-1, 1, 4)[:, None, None].expand(3, 4, 16, 16)[None]
    batch = ClipBatch(clip, torch.tensor([8.0]), ["clip"])
    optimizer: Any = module.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] *= 30
    found = []
    for _ in range(steps):
        torch.manual_seed(0)
        loss = module.losses(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("spatial_lr", [0.0, 1.0])
def test_training_lowers_the_loss_with_spatial_layers_frozen_or_not(
    spatial_lr: float, sources: dict[str, Path], tmp_path: Path
) -> None:
    denoiser = grow(sources["unconditional"], tmp_path / "grown")
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    temporal = {f"net.{name}" for name in space_time_network(denoiser).temporal_names()}
    loss = losses(TemporalDecoder(denoiser, spatial_lr=spatial_lr), 6)

    assert loss[-1] < 0.95 * loss[0]
    changed = {name for name, value in denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed & temporal
    assert bool(changed - temporal) == (spatial_lr > 0)


def test_adapters_of_low_rank_start_without_effect_and_train_with_frozen_spatial_layers(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    plain = grow(sources["unconditional"], tmp_path / "plain")
    denoiser = grow(sources["unconditional"], tmp_path / "lora", lora_rank=2)
    images, sigma, cond = torch.randn(2, 3, 16, 16), torch.ones(2), torch.zeros(2, 768)
    assert torch.equal(denoiser(images, sigma, cond).x0, plain(images, sigma, cond).x0)

    adapters = space_time_network(denoiser).adapter_parameters()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    loss = losses(TemporalDecoder(denoiser, spatial_lr=0.0), 6)
    changed = {name for name, value in denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert loss[-1] < loss[0]
    assert {f"net.{name}" for name in adapters if "lora_up" in name} <= changed
    assert not any(name.endswith("to_q.spatial.weight") for name in changed)


def test_the_stage_trains_it_and_the_pipeline_generates_from_it(
    sources: dict[str, Path], stages: dict[str, Path], tmp_path: Path
) -> None:
    """From a folder of diffusers to a clip, through the command line."""
    grow(sources["unconditional"], tmp_path / "grown", cond_channels=8)
    WriteShapesWorld(
        images=2, clips=6, val_images=2, val_clips=2, size=16, seconds=2.0, fps=16, shard_size=10, processes=1
    ).run(tmp_path / "shapes")
    needs = {"data": tmp_path / "shapes", "clip": stages["clip"], "grown": tmp_path / "grown"}
    words = [*(f"needs.{role}={folder}" for role, folder in needs.items()), "size=16", "frames=4", "fit.steps=2"]
    words += ["data.batch_size=2", "data.fps.low=4", "data.fps.high=8", "fit.checkpoint_every=2", "fit.logger=false"]
    done = CliRunner().invoke(app, ["train", "stage/temporal_grown.yaml", *words, "--out", str(tmp_path / "temporal")])
    assert done.exit_code == 0, done.output or done.exception

    card = read_card(tmp_path / "temporal")
    assert card.network == read_card(tmp_path / "grown").network
    assert (card.trained.size, card.trained.frames, card.trained.fps) == (16, 4, (4, 8))
    networks = NetworkFolders(clip=stages["clip"], prior=stages["prior"], decoder=tmp_path / "temporal")
    write_pipeline(tmp_path / "pipeline", Sampling(size=16, frames=4, steps=2, batch_size=1), networks)
    clips = Pipeline.from_pretrained(tmp_path / "pipeline")("a red circle", fps=8, seeds=0)
    assert clips.shape == (1, 4, 16, 16, 3)


def moved(denoiser: NetDenoiser, folder: Path) -> None:
    """Write other weights to a network's folder, as training does."""
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: value + 0.01 * torch.randn(value.shape, generator=generator)
        for name, value in denoiser.state_dict().items()
    }
    write_network(folder, weights)


@pytest.mark.parametrize("kind", ["unconditional", "unclip decoder"])
def test_an_exported_network_loads_in_diffusers_and_comes_back_with_the_same_bits(
    kind: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    options = {"text_tokens": 20} if kind == "unclip decoder" else {}
    moved(grow(sources[kind], tmp_path / "grown", **options), tmp_path / "grown")
    trained = load_network(tmp_path / "grown")
    done = CliRunner().invoke(
        app,
        ["checkpoint", "export", str(tmp_path / "grown"), "--format", "diffusers", "--out", str(tmp_path / "shared")],
    )
    assert done.exit_code == 0, done.output

    config = json.loads((tmp_path / "shared" / "unet" / "config.json").read_text())
    model = getattr(diffusers, config["_class_name"]).from_pretrained(tmp_path / "shared" / "unet")
    names = trained.net.source_names()  # type: ignore[union-attr, operator]
    expected = trained.net.state_dict()  # type: ignore[union-attr, operator]
    assert all(torch.equal(model.state_dict()[theirs], expected[ours]) for ours, theirs in names.items())

    temporal = tmp_path / "shared" / "temporal.safetensors"
    again = functools.partial(
        GrowDiffusers,
        tmp_path / "shared" / "unet",
        grown=functools.partial(GrownUNet, **options),
        temporal=temporal,
    )
    with pytest.raises(UserError) as asked:
        again(source_sha256="ask").run(tmp_path / "no", seed=None, track=untracked)
    sha256 = str(asked.value).rpartition("=")[2]
    again(source_sha256=sha256).run(tmp_path / "back", seed=None, track=untracked)
    back, state = load_network(tmp_path / "back").state_dict(), trained.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in back.items())


def test_an_exported_unconditional_network_is_a_pipeline_of_diffusers(sources: dict[str, Path], tmp_path: Path) -> None:
    grow(sources["unconditional"], tmp_path / "grown")
    export_diffusers(tmp_path / "grown", tmp_path / "shared")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "shared")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(num_inference_steps=1, output_type="np").images.shape == (1, 16, 16, 3)
    assert "License" in (tmp_path / "shared" / "README.md").read_text()


@torch.no_grad()
def test_adapters_are_merged_on_export(sources: dict[str, Path], tmp_path: Path) -> None:
    moved(grow(sources["unconditional"], tmp_path / "grown", lora_rank=2), tmp_path / "grown")
    export_diffusers(tmp_path / "grown", tmp_path / "shared")
    model = diffusers.UNet2DModel.from_pretrained(tmp_path / "shared" / "unet").eval()
    trained = load_network(tmp_path / "grown")
    images, noise = torch.randn(1, 3, 16, 16), torch.zeros(1)

    timestep = trained.net.timestep(noise)  # type: ignore[union-attr, operator]
    found = trained.net(images, noise, torch.zeros(1, 768))  # type: ignore[union-attr, operator]
    torch.testing.assert_close(model(images, timestep).sample, found, atol=1e-5, rtol=1e-5)


def test_a_network_of_our_own_has_no_form_in_diffusers(stages: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not extended from a network of diffusers"):
        export_diffusers(stages["decoder"], tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
