"""A whole Stable unCLIP pipeline of diffusers as a cascade that makes clips of given ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_diffusers
import torch
from PIL import Image
from typer.testing import CliRunner

from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.cascade.pipeline_file import read_pipeline_file
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import read_manifest
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.networks.card import network_id, read_card
from mav_lightning.pretrained.stable_unclip import StableUnclipImageEncoder

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusers.stable_unclip_pipeline(tmp_path_factory.mktemp("stable"))


@pytest.fixture(scope="module")
def pipeline_folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cascade") / "pipeline"
    words = ["pipeline", "--from", "stable-unclip", source, "--frames", 2, "--steps", 2, "--out", out]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def picture(seed: int = 0, frames: int = 2) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC))] * frames)


def test_the_networks_and_the_settings_are_those_of_the_folder(source: Path, pipeline_folder: Path) -> None:
    cards = {role: read_card(pipeline_folder / role) for role in ("clip", "prior", "vae", "decoder")}
    assert {role: card.network["class"] for role, card in cards.items()} == {
        "clip": "StableUnclipImageEncoder", "prior": "AbsentPrior", "vae": "LatentVAE", "decoder": "VDenoiser",
    }  # fmt: skip
    sampling = read_pipeline_file(pipeline_folder).sampling
    assert (sampling.size, sampling.steps, sampling.sampler, sampling.guidance_scale) == (32, 2, "ddim", 10.0)
    assert (cards["decoder"].trained.size, cards["decoder"].trained.vae) == (32, network_id(pipeline_folder / "vae"))
    mean, std = np.linspace(-1, 1, 12), np.linspace(0.5, 2, 12)
    norm = np.sqrt((mean**2 + std**2).sum())
    assert cards["decoder"].network["net"]["cond_norm"] == pytest.approx(norm)


@torch.no_grad()
def test_pictures_are_embedded_as_diffusers_embeds_them(source: Path, pipeline_folder: Path) -> None:
    encoder = Pipeline.from_pretrained(pipeline_folder).cascade.clip.network
    assert isinstance(encoder, StableUnclipImageEncoder)
    theirs = diffusers.StableUnCLIPImg2ImgPipeline.from_pretrained(source, use_safetensors=True)
    pixels = picture(frames=1)[0]
    small = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BICUBIC))
    read = theirs.feature_extractor(images=Image.fromarray(small), return_tensors="pt").pixel_values
    wanted = theirs.image_encoder(read).image_embeds
    found = encoder.encode_image(torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)
    torch.testing.assert_close(found, torch.nn.functional.normalize(wanted, dim=1), atol=1e-5, rtol=0)
    larger = encoder.encode_image(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)
    assert float((larger * found).sum()) > 0.99, "downsampled as Pillow does it, but for rounding"


def test_variations_of_a_clip_depend_on_what_it_shows(pipeline_folder: Path, tmp_path: Path) -> None:
    clips = []
    for name, seed in (("a", 0), ("b", 1)):
        write_lossless(tmp_path / f"{name}.mkv", picture(seed), 8.0)
        words = ["generate", "--variation", tmp_path / f"{name}.mkv", "--pipeline", pipeline_folder, "--no-mark",
                 "--out", tmp_path / name]  # fmt: skip
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        (record,) = read_manifest(tmp_path / name)
        clips.append(read_clip(tmp_path / name / record.file))
    assert clips[0].shape == (2, 32, 32, 3) and clips[0].std() > 1
    assert not np.array_equal(*clips)
    python = Pipeline.from_pretrained(pipeline_folder).variation(picture(0)[None])
    assert np.array_equal(python[0], clips[0])


def test_texts_are_refused_before_anything_is_written_or_replaced(pipeline_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clip: the image encoder of a Stable unCLIP pipeline embeds no texts"):
        Pipeline.from_pretrained(pipeline_folder)("a red fox")
    words = ["generate", "a red fox", "--pipeline", str(pipeline_folder), "--out", str(tmp_path / "clips")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UserError) and "use --variation" in str(done.exception)
    assert not (tmp_path / "clips").exists()


def test_given_frames_need_an_interpolator(pipeline_folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(frames=1)[0]).save(tmp_path / "a.png")
    words = ["generate", "--animate", str(tmp_path / "a.png"), "--pipeline", str(pipeline_folder)]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "clips")])
    assert "animate: this pipeline has no network `interpolator`" in str(done.exception)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another pipeline": (
        lambda at: edit(at / "model_index.json", _class_name="UnCLIPPipeline"),
        "holds a UnCLIPPipeline; expected a StableUnCLIPImg2ImgPipeline",
    ),
    "code as part": (
        lambda at: edit(at / "model_index.json", scheduler=["my_scheduler", "Mine"]),
        "`scheduler` is a Mine of my_scheduler, whose code is not run; expected a class of diffusers",
    ),
    "no image encoder": (lambda at: shutil.rmtree(at / "image_encoder"), "the part `image_encoder` is missing"),
    "pickled image encoder": (
        lambda at: (at / "image_encoder" / "model.safetensors").rename(at / "image_encoder" / "model.bin"),
        "model.safetensors is missing; its weights are pickles",
    ),
    "no statistics": (
        lambda at: edit(at / "feature_extractor" / "preprocessor_config.json", image_mean=None),
        "preprocessor_config.json.image_mean: must be",
    ),
    "unknown size": (
        lambda at: edit(at / "unet" / "config.json", sample_size=None), "`sample_size` of the network and"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_named_with_one_message_and_nothing_is_written(case: str, source: Path, tmp_path: Path) -> None:
    tiny_diffusers.check_refused("stable-unclip", source, *BAD[case], tmp_path)
