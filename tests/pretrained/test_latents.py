"""Latents of a frozen autoencoder: kept next to shards, trained on, decoded by the cascade."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusers import grow, randomized, text_to_image
from typer.testing import CliRunner

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.latent_cache import write_latents
from datamodules.latent_flicker import measure_flicker
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.networks.card import network_id, read_card
from mav_lightning.networks.stored import load_network
from mav_lightning.pretrained.latent_vae import AdoptAutoencoder, LatentVAE

SIZE, FACTOR = 16, 2


def autoencoder(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A tiny random AutoencoderKL, saved by diffusers; returns its folder."""
    options = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    model = diffusers.AutoencoderKL(
        **options, block_out_channels=[8, 16], norm_num_groups=4, latent_channels=4, sample_size=SIZE, **changes
    )
    randomized(model, seed).save_pretrained(folder)
    return folder


def adopted(source: Path, out: Path) -> Path:
    with pytest.raises(UserError) as asked:
        AdoptAutoencoder(source, "ask").run(out, seed=None, track=untracked)
    assert not out.exists()
    AdoptAutoencoder(source, str(asked.value).rpartition("=")[2]).run(out, seed=None, track=untracked)
    return out


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    return adopted(autoencoder(folder / "source", scaling_factor=0.5, shift_factor=0.1), folder / "vae")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shards"
    counts = {"images": 3, "clips": 3, "val_images": 1, "val_clips": 1}
    WriteShapesWorld(**counts, size=SIZE, seconds=1.0, fps=8, shard_size=2, processes=1).run(folder)
    return folder


def encode(shards: Path, vae: Path) -> str:
    done = CliRunner().invoke(app, ["data", "encode", str(shards), "--vae", str(vae), "--size", str(SIZE)])
    assert done.exit_code == 0, done.output or done.exception
    return done.output


@torch.no_grad()
def test_latents_are_those_of_diffusers_scaled_as_its_pipelines_scale_them(vae: Path) -> None:
    network = load_network(vae)
    assert isinstance(network, LatentVAE) and (network.channels, network.factor) == (4, FACTOR)
    theirs = diffusers.AutoencoderKL.from_pretrained(vae.parent / "source")
    images = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    latents = (theirs.encode(images).latent_dist.mean - 0.1) * 0.5

    torch.testing.assert_close(network.encode(images), latents)
    torch.testing.assert_close(network.decode(latents), theirs.decode(latents / 0.5 + 0.1).sample)


@torch.no_grad()
def test_batches_hold_the_latents_of_the_frames_that_they_would_hold(shards: Path, vae: Path) -> None:
    report = encode(shards, vae)
    assert "Mean change from frame to frame in gray levels" in report and "3 clips" not in report  # of train and val
    network, name = load_network(vae), network_id(vae)
    assert isinstance(network, LatentVAE) and f"data.latents={name}" in report

    images = partial(ImageData, shards, size=SIZE, batch_size=2)
    clips = lambda **own: ClipData(shards, SIZE, 3, UniformFps(4.0, 8.0), 2, **own)  # noqa: E731
    for kind in (images, clips):
        pixels, latents = kind(), kind(latents=name)
        for one, other in itertools.islice(zip(pixels.train_dataloader(), latents.train_dataloader(), strict=True), 2):
            assert one.key == other.key and other.latent and not one.latent
            frames = one.pixels if one.pixels.ndim == 5 else one.pixels[:, :, None]
            expected = torch.stack([network.encode(frames[:, :, t]) for t in range(frames.shape[2])], dim=2)
            found = other.pixels if other.pixels.ndim == 5 else other.pixels[:, :, None]
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)  # stored as float16


def test_an_interrupted_encoding_goes_on_with_the_first_shard_that_is_missing(shards: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def count(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return images[:, :, ::FACTOR, ::FACTOR]

    done = write_latents(shards, count, "fake", SIZE)
    assert sum(calls) == 4 + 4 * 8 and not any(done.values())
    files = list(done)
    before = {file: load_file(file) for file in files}
    files[0].unlink()
    calls.clear()
    write_latents(shards, count, "fake", SIZE)
    assert 0 < sum(calls) <= 2 * 8
    after = {file: load_file(file) for file in files}
    assert all(torch.equal(after[file][name], value) for file in files for name, value in before[file].items())


def test_latents_of_another_autoencoder_or_size_are_refused_with_the_way_out(shards: Path) -> None:
    write_latents(shards, lambda images: images[:, :, ::FACTOR, ::FACTOR], "fake", SIZE)
    with pytest.raises(
        UserError, match=r"no such latents \(found those of other .*: .*fake-16.*\); run `mav data encode"
    ):
        ImageData(shards, size=SIZE, batch_size=2, latents="other").train_dataloader()
    with pytest.raises(UserError, match="--vae <folder of the autoencoder fake> --size 8"):
        ImageData(shards, size=8, batch_size=2, latents="fake").train_dataloader()


def test_a_decoder_trains_on_latents_and_the_cascade_decodes_its_clips(
    shards: Path, vae: Path, stages: dict[str, Path], tmp_path: Path
) -> None:
    encode(shards, vae)
    source = text_to_image(tmp_path / "source", in_channels=4, out_channels=4, sample_size=SIZE // FACTOR)
    grow(source, tmp_path / "grown", cond_channels=8)
    runner, name = CliRunner(), network_id(vae)
    done = runner.invoke(app, ["data", "embed", str(shards), "--clip", str(stages["clip"])])
    assert done.exit_code == 0, done.output
    needs = {"data": shards, "clip": stages["clip"], "grown": tmp_path / "grown"}
    words = [*(f"needs.{role}={folder}" for role, folder in needs.items()), f"size={SIZE}", "frames=3", "fit.steps=2"]
    words += ["data.batch_size=2", "data.fps.low=4", "data.fps.high=8", "fit.logger=false", f"data.latents={name}"]
    train = ["train", "stage/temporal_grown.yaml", *words]
    done = runner.invoke(app, [*train, "--out", str(tmp_path / "no")])
    assert "cache embeddings with `mav data embed`" in str(done.exception)
    done = runner.invoke(
        app, [*train, f"data.embeddings={network_id(stages['clip'])}", "--out", str(tmp_path / "temporal")]
    )
    assert done.exit_code == 0, done.output or done.exception
    assert read_card(tmp_path / "temporal").trained.vae == name

    folders = {"clip": stages["clip"], "prior": stages["prior"], "decoder": tmp_path / "temporal"}
    sampling = Sampling(size=SIZE, frames=3, steps=2, batch_size=1)
    with pytest.raises(UserError, match=f"`decoder` makes latents of autoencoder {name}, and there is none"):
        write_pipeline(tmp_path / "pipeline", sampling, NetworkFolders(**folders))
    other = adopted(autoencoder(tmp_path / "other", seed=3), tmp_path / "another")
    with pytest.raises(UserError, match=f"of autoencoder {name}, and it is {network_id(other)}"):
        write_pipeline(tmp_path / "pipeline", sampling, NetworkFolders(**folders, vae=other))
    write_pipeline(tmp_path / "pipeline", sampling, NetworkFolders(**folders, vae=vae))
    clips = Pipeline.from_pretrained(tmp_path / "pipeline")("a red circle", fps=8, seeds=0)
    assert clips.shape == (1, 3, SIZE, SIZE, 3)


def test_pixels_are_no_latents(shards: Path, stages: dict[str, Path], tmp_path: Path) -> None:
    source = text_to_image(tmp_path / "source", in_channels=4, out_channels=4, sample_size=8)
    grow(source, tmp_path / "grown", cond_channels=8)
    needs = {"data": shards, "clip": stages["clip"], "grown": tmp_path / "grown"}
    words = [*(f"needs.{role}={folder}" for role, folder in needs.items()), f"size={SIZE}", "frames=3", "fit.steps=1"]
    words += ["data.batch_size=2", "data.fps.low=4", "data.fps.high=8", "fit.logger=false", "--out"]
    done = CliRunner().invoke(app, ["train", "stage/temporal_grown.yaml", *words, str(tmp_path / "no")])
    assert "the network denoises 4 channels, and the batches have 3" in str(done.exception)


def test_a_decoder_of_pixels_needs_no_autoencoder(vae: Path, stages: dict[str, Path], tmp_path: Path) -> None:
    grow(text_to_image(tmp_path / "source"), tmp_path / "grown", cond_channels=8)
    folders = NetworkFolders(clip=stages["clip"], prior=stages["prior"], decoder=tmp_path / "grown", vae=vae)
    with pytest.raises(
        UserError, match="vae: `decoder` generates pixels, not latents, so no autoencoder is needed; leave it out"
    ):
        write_pipeline(tmp_path / "pipeline", Sampling(size=SIZE, frames=3, steps=2, batch_size=1), folders)


def test_an_exact_autoencoder_adds_no_flicker_and_an_unsteady_one_does(shards: Path) -> None:
    exact = measure_flicker(shards, lambda images: images, SIZE)
    assert exact is not None and exact.clips == 4 and exact.added == 0
    assert exact.original == exact.decoded > 0 and 0 < exact.static_original == exact.static_decoded < 2

    sign = itertools.cycle([0.1, -0.1])
    unsteady = measure_flicker(shards, lambda images: images * 0.5 + next(sign), SIZE)
    assert unsteady is not None and unsteady.static_decoded > 20 > unsteady.static_original
    assert np.isclose(unsteady.original, exact.original) and unsteady.added > 20
    assert measure_flicker(shards / "images", lambda images: images, SIZE) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "diffusion_pytorch_model.safetensors").rename(f / "model.bin"), "are pickles, which can run"),
        (lambda f: (f / "config.json").unlink(), "not a diffusers model, `config.json` is missing"),
        (
            lambda f: _edit(f, '"latent_channels": 4', '"latent_channels": 4, "tiles": 2'),
            "config.json: `tiles` is not an argument",
        ),
        (lambda f: _edit(f, '"latent_channels": 4', '"latent_channels": 5'), "of another shape, first `"),
        (lambda f: _edit(f, "{", '{"auto_map": {"a": "b.C"},', 1), "asks for code from the model's repository"),
        (lambda f: _edit(f, "AutoencoderKL", "VQModel"), "holds a VQModel; expected AutoencoderKL"),
        (lambda f: _halve(f), "missing, first `"),
    ],
    ids=["pickle", "no config", "another version", "other weights", "code", "another class", "half of the weights"],
)
def test_a_bad_folder_gives_one_message_and_nothing_is_written(damage: Any, message: str, tmp_path: Path) -> None:
    source = autoencoder(tmp_path / "source")
    from mav_lightning.pretrained.diffusers_folder import files_sha256

    damage(source)
    sha256 = files_sha256([file for file in source.iterdir() if file.suffix != ".bin"])
    with pytest.raises(UserError, match=message):
        AdoptAutoencoder(source, sha256).run(tmp_path / "vae", seed=None, track=untracked)
    assert not (tmp_path / "vae").exists()


def _edit(folder: Path, old: str, new: str, count: int = -1) -> None:
    text = (folder / "config.json").read_text()
    assert old in text
    (folder / "config.json").write_text(text.replace(old, new, count))


def _halve(folder: Path) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(dict(itertools.islice(weights.items(), len(weights) // 2)), file)
