"""AnimateDiff's and ModelScope's networks from their folders, unchanged, as networks of this project."""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusers import randomized, text_encoder, text_to_image

from mav_lightning.ablation.run import load_plan
from mav_lightning.certificate import certify_frames
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.networks.stored import load_network
from mav_lightning.pretrained.video_network import VideoNetwork
from mav_lightning.pretrained.video_source import AdoptVideoNetwork

FRAMES, TOKENS = 4, 20


def modelscope(folder: Path) -> Path:
    """A tiny random text-to-video pipeline's parts; returns the folder of its U-Net."""
    model = diffusers.UNet3DConditionModel(
        in_channels=3, out_channels=3, sample_size=16, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=16, attention_head_dim=8,
    )  # fmt: skip
    randomized(model, 7).save_pretrained(folder / "unet")
    diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(
        folder / "scheduler"
    )
    text_encoder(folder)
    (folder / "model_index.json").write_text('{"_class_name": "TextToVideoSDPipeline"}')
    return folder / "unet"


def motion_adapter(folder: Path, **changes: Any) -> Path:
    options: dict[str, Any] = {
        "block_out_channels": (32, 64), "motion_layers_per_block": 2, "motion_norm_num_groups": 8,
        "motion_num_attention_heads": 2, "motion_mid_block_layers_per_block": 1, "motion_max_seq_length": 8,
    }  # fmt: skip
    randomized(diffusers.MotionAdapter(**options | changes), 5).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path | None]]:
    place = tmp_path_factory.mktemp("others")
    moved = text_to_image(place / "sd"), motion_adapter(place / "adapter")
    return {"animatediff": moved, "modelscope": (modelscope(place / "ms"), None)}


def adopt(source: Path, out: Path, adapter: Path | None = None) -> NetDenoiser:
    task = lambda sha256: AdoptVideoNetwork(source, sha256, adapter, cond_channels=8)  # noqa: E731
    with pytest.raises(UserError, match="give source_sha256=") as asked:
        task("ask").run(out, seed=None, track=untracked)
    assert not out.exists()
    task(str(asked.value).rpartition("=")[2]).run(out, seed=None, track=untracked)
    found = load_network(out)
    assert isinstance(found, NetDenoiser) and isinstance(found.net, VideoNetwork)
    return found


def theirs(name: str, source: Path, adapter: Path | None) -> Any:
    if name == "modelscope":
        return diffusers.UNet3DConditionModel.from_pretrained(source).eval()
    unet = diffusers.UNet2DConditionModel.from_pretrained(source)
    return diffusers.UNetMotionModel.from_unet2d(unet, diffusers.MotionAdapter.from_pretrained(adapter)).eval()


@pytest.mark.parametrize("name", ["animatediff", "modelscope"])
@torch.no_grad()
def test_the_network_is_that_of_diffusers_on_the_same_inputs(
    name: str, folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    source, adapter = folders[name]
    denoiser = adopt(source, tmp_path / "out", adapter)
    clips, captions, steps = torch.randn(2, 3, FRAMES, 16, 16), torch.randn(2, TOKENS, 16), torch.tensor([10, 900])
    sigmas = denoiser.net.training_sigmas()
    assert sigmas is not None
    noise = sigmas[steps].log().float() / 4
    # AnimateDiff's pipeline gives every frame its captions, ModelScope's network does that itself.
    given = captions.repeat_interleave(FRAMES, 0) if name == "animatediff" else captions
    expected = theirs(name, source, adapter)(clips, steps, encoder_hidden_states=given).sample

    torch.testing.assert_close(denoiser.net(clips, noise, captions), expected, atol=1e-6, rtol=1e-5)
    again = denoiser.net(clips, noise, captions, torch.tensor([4.0, 30.0]))
    assert torch.equal(again, denoiser.net(clips, noise, captions, torch.tensor([8.0, 8.0]))), "no frame rate is read"
    image = denoiser.net(clips[:, :, 0], noise, torch.zeros(2, 8))
    torch.testing.assert_close(image, denoiser.net(clips[:, :, :1], noise, torch.zeros(2, 8))[:, :, 0])
    report = json.loads((tmp_path / "out" / "video.json").read_text())
    assert report["temporal"] and set(report["temporal"]) == denoiser.net.temporal_names()  # type: ignore[operator]


def test_motion_modules_that_are_silent_keep_the_certificate_and_trained_ones_do_not(
    folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    source, adapter = folders["animatediff"]
    denoiser = adopt(source, tmp_path / "out", adapter)
    for name, weight in denoiser.named_parameters():
        if "motion_modules" in name and "proj_out" in name:
            torch.nn.init.zeros_(weight)
    assert certify_frames(denoiser).holds
    assert not certify_frames(load_network(tmp_path / "out")).holds  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["animatediff", "modelscope"])
def test_the_layers_of_time_alone_can_be_trained(
    name: str, folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    source, adapter = folders[name]
    module = TemporalDecoder(adopt(source, tmp_path / "out", adapter), spatial_lr=0.0)
    trained = {name for name, weight in module.denoiser.named_parameters() if weight.requires_grad}
    temporal = module.net.temporal_parameters()
    assert trained == {f"net.{name}" for name in temporal} and 0 < len(temporal) < len(list(module.net.parameters()))


def test_a_clip_longer_than_the_embedding_of_frames_is_refused(
    folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    denoiser = adopt(folders["animatediff"][0], tmp_path / "out", folders["animatediff"][1])
    with pytest.raises(ValueError, match="embeds up to 8 frames, got 9"):
        denoiser.net(torch.zeros(1, 3, 9, 16, 16), torch.zeros(1), torch.zeros(1, 8))


def test_they_are_variants_of_the_study_of_a_grown_network(
    folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    target = "mav_lightning.pretrained.video_source.AdoptVideoNetwork"
    (unet, adapter), (other, _) = folders["animatediff"], folders["modelscope"]
    prompts, shards = tmp_path / "prompts.txt", tmp_path / "shards"
    prompts.write_text("a red circle\n")
    from datamodules.shapes_world_shards import WriteShapesWorld

    counts = {"images": 2, "clips": 2, "val_images": 2, "val_clips": 2}
    WriteShapesWorld(**counts, size=16, seconds=2.0, fps=8, processes=1).run(shards)
    study = tmp_path / "study.yaml"
    study.write_text(
        "extends: ablation/grown.yaml\nseeds: [0]\nvariants:\n"
        f"  animatediff: {{grown.task: {{_target_: {target}, source: {unet}, adapter: {adapter}, source_sha256: a,"
        " cond_channels: 64}}\n"
        f"  modelscope: {{grown.task: {{_target_: {target}, source: {other}, source_sha256: b, cond_channels: 64}}}}\n"
        f"overrides: {{data.task.root: {shards}, sample.task.prompts: {prompts}, grown.task.source: {unet}}}\n"
    )
    plan = load_plan(study)
    grown = {name: plan.trial(name, 0).stages["grown"] for name in ("joint", "animatediff", "modelscope")}
    assert len({stage.id for stage in grown.values()}) == 3
    assert grown["animatediff"].config["task"]["_target_"] == target


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "diffusion_pytorch_model.safetensors").rename(f / "pytorch_model.bin"), "are pickles"),
        (lambda f: (f / "diffusion_pytorch_model.safetensors").unlink(), "is missing; copy the folder again"),
        (lambda f: _config(f, later_version=1), "`later_version` is not an argument of the "),
        (lambda f: _config(f, auto_map={"AutoModel": "own.Model"}), "asks for code from the model's repository"),
        (lambda f: _halve(f), "missing, first `"),
    ],
    ids=["pickle", "no weights", "another version", "code", "half of the weights"],
)
@pytest.mark.parametrize("part", ["modelscope", "adapter"])
def test_a_bad_folder_gives_one_message_and_nothing_is_written(
    part: str, damage: Any, message: str, folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    source, adapter = folders["animatediff" if part == "adapter" else "modelscope"]
    bad = tmp_path / "bad" / "unet"
    if adapter is None:
        shutil.copytree(source.parent, bad.parent)
        source = bad
    else:
        adapter = shutil.copytree(adapter, bad)
    damage(bad)
    with pytest.raises(UserError, match=message):
        AdoptVideoNetwork(source, "ask", adapter).run(tmp_path / "out", seed=None, track=untracked)
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_network_is_refused(folders: dict[str, tuple[Path, Path | None]], tmp_path: Path) -> None:
    adapter = motion_adapter(tmp_path / "adapter", block_out_channels=(16, 32))
    with pytest.raises(UserError, match="does not fit the network in"):
        AdoptVideoNetwork(folders["animatediff"][0], "ask", adapter).run(tmp_path / "out", seed=None, track=untracked)


SCHEDULER, ENCODER, ENCODER_WEIGHTS = "scheduler/scheduler_config.json", "text_encoder/config.json", "model.safetensors"
BESIDE: dict[str, tuple[str, Any, str]] = {
    "scheduler, no JSON": (SCHEDULER, lambda f: f.write_text("{"), "scheduler_config.json: not valid JSON"),
    "scheduler, missing": (SCHEDULER, lambda f: f.unlink(), "give the scheduler's, such as task.scheduler="),
    "another prediction": (
        SCHEDULER, lambda f: _edit(f, prediction_type=["flow"]),
        r"scheduler_config.json: prediction_type=.* is not supported; it must be one of epsilon, v_prediction, sample",
    ),
    "no noise": (
        SCHEDULER, lambda f: _edit(f, beta_start="x"),
        "scheduler_config.json: beta_start: must be a finite number above 0 and below 1, got 'x'",
    ),
    "listed noise": (
        SCHEDULER, lambda f: _edit(f, trained_betas=[0.1]), "scheduler_config.json: the noise schedule is not supported"
    ),
    "encoder, no config": (ENCODER, lambda f: f.unlink(), "no such file; give a complete copy of the pipeline"),
    "encoder, no length": (
        ENCODER, lambda f: _edit(f, max_position_embeddings=None), "max_position_embeddings: must be a whole number"
    ),
    "encoder, other width": (
        ENCODER, lambda f: _edit(f, hidden_size=24), r"\d+ weights .* are of another shape than its config describes"
    ),
    "encoder, no width": (ENCODER, lambda f: _edit(f, hidden_size="x"), r"not a readable text encoder .*hidden_size"),
    "encoder, no activation": (ENCODER, lambda f: _edit(f, hidden_act="none"), "not a readable text encoder"),
    "encoder, more layers": (
        ENCODER, lambda f: _edit(f, num_hidden_layers=3), "16 weights of the text encoder are missing, first `"
    ),
    "encoder, half a file": (f"text_encoder/{ENCODER_WEIGHTS}", lambda f: _cut(f), "not a readable text encoder"),
    "encoder, not finite": (
        f"text_encoder/{ENCODER_WEIGHTS}", lambda f: _spoil(f), "1 weight of the text encoder is not finite, first `"
    ),
    "encoder, pickles": (
        f"text_encoder/{ENCODER_WEIGHTS}", lambda f: f.rename(f.with_name("pytorch_model.bin")), "are pickles"
    ),
    "no tokenizer": ("tokenizer", lambda f: f.rename(f.with_name("words")), "needs the part `tokenizer`"),
    "tokenizer without words": ("tokenizer/tokenizer.json", lambda f: f.unlink(), "such as tokenizer.json; use a comp"),
    "half a tokenizer": ("tokenizer/tokenizer.json", lambda f: _cut(f), r"tokenizer: not a readable tokenizer \("),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_a_damaged_part_next_to_the_network_gives_one_message_and_nothing_is_written(
    name: str, folders: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    file, damage, message = BESIDE[name]
    pipeline, out = shutil.copytree(folders["modelscope"][0].parent, tmp_path / "bad"), tmp_path / "out"
    damage(pipeline / file)
    sha256 = "ask"
    with pytest.raises(UserError) as found:
        AdoptVideoNetwork(pipeline / "unet", sha256, cond_channels=8).run(out, seed=None, track=untracked)
    if "give source_sha256=" in str(found.value):
        sha256 = str(found.value).rpartition("=")[2]
        with pytest.raises(UserError) as found:
            AdoptVideoNetwork(pipeline / "unet", sha256, cond_channels=8).run(out, seed=None, track=untracked)
    assert re.search(message, str(found.value)), found.value
    assert not out.exists()


def _config(folder: Path, **more: Any) -> None:
    _edit(folder / "config.json", **more)


def _edit(file: Path, **more: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _spoil(file: Path) -> None:
    weights = load_file(file)
    weights[min(weights)].fill_(float("nan"))
    save_file(weights, file, {"format": "pt"})


def _halve(folder: Path) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(dict(itertools.islice(weights.items(), len(weights) // 2)), file)
