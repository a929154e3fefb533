"""A whole unCLIP pipeline of diffusers as a cascade: the same images from texts, and clips of such frames."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_diffusers
import torch
from click.testing import Result
from doll_cascade import NODES
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from mav_lightning.cascade.clip_requests import TextRequest
from mav_lightning.cascade.pipeline_file import read_pipeline_file
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sample_networks import noise_levels, reads_noise_level
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.sampling_chain import SamplingChain
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.config import instantiate
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import karras_sigmas
from mav_lightning.networks.card import Card, network_id, read_card
from mav_lightning.networks.stored import load_network, write_network
from mav_lightning.pretrained.diffusers_folder import read_scheduler
from mav_lightning.pretrained.last_step_expert import LastStepExpert
from mav_lightning.pretrained.unclip_folder import UNCLIP_ROLES, unclip_sampling, write_unclip_networks
from mav_lightning.pretrained.unclip_text import UnclipTextEncoder
from mav_lightning.prompts import Prompt

STEPS, SR_STEPS, FRAMES = 4, 3, 3
PROMPTS, SEEDS = ["a red fox", "the sea at night, and far more words than"], [5, 6]


@pytest.fixture(scope="module")
def karlo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusers.unclip_pipeline(tmp_path_factory.mktemp("karlo"))


@pytest.fixture(scope="module")
def pipeline_folder(karlo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pipeline")
    networks = write_unclip_networks(karlo, out, list(UNCLIP_ROLES))
    settings = {**unclip_sampling(karlo), "frames": FRAMES, "steps": STEPS, "sr_steps": SR_STEPS, "batch_size": 2}
    write_pipeline(out, Sampling(**settings), NetworkFolders(**networks))
    return out


def exactly(scheduler: Any) -> None:
    """Let a scheduler compute in float64: in float32 its 1 - ᾱ loses three digits, and the first step's 1 - β all."""
    products = scheduler.alphas_cumprod.double()
    scheduler.one = torch.ones((), dtype=torch.float64)
    scheduler.alphas_cumprod, scheduler.alphas = products, products / torch.cat([scheduler.one[None], products[:-1]])
    scheduler.betas = 1 - scheduler.alphas


def theirs(
    folder: Path,
    encoder: UnclipTextEncoder,
    noise: Callable[[tuple[int, ...], int], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> Tensor:
    """Images of diffusers' own pipeline, shape (2 · FRAMES, 3, 32, 32), with noise of our streams in its schedulers.

    Its text encoder is replaced by ours after a comparison: the first step multiplies what float32 rounds by 20000.
    """
    import diffusers
    from diffusers.schedulers import scheduling_unclip

    # diffusers names this class by the library when it saves a pipeline, and does not find it there.
    monkeypatch.setattr(diffusers, "UnCLIPTextProjModel", tiny_diffusers.unclip_text_proj(), raising=False)
    pipeline = diffusers.UnCLIPPipeline.from_pretrained(folder, use_safetensors=True).to(torch.float64)
    pipeline.set_progress_bar_config(disable=True)
    encode = pipeline.text_encoder.float().forward

    def one_by_one(ids: Tensor) -> SimpleNamespace:
        found = [encoder.model(row[None]) for row in ids]
        ours = {name: torch.cat([one[name] for one in found]) for name in ("text_embeds", "last_hidden_state")}
        expected = encode(ids)
        for name, value in ours.items():
            torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=0)
        return SimpleNamespace(**{name: value.double() for name, value in ours.items()})

    monkeypatch.setattr(pipeline.text_encoder, "forward", one_by_one)
    for name in ("prior_scheduler", "decoder_scheduler", "super_res_scheduler"):
        exactly(getattr(pipeline, name))
    streams = {(16,): 1, (3, 16, 16): 0, (3, 32, 32): 3}
    monkeypatch.setattr(
        scheduling_unclip, "randn_tensor", lambda shape, **_: noise(tuple(shape[1:]), streams[tuple(shape[1:])])
    )
    # Its first sample is noise of unit variance; ours has the variance that is left at the highest noise level.
    scale = float(1 - pipeline.prior_scheduler.alphas_cumprod[-1]) ** 0.5
    latents = {shape: scale * noise(shape, stream) for shape, stream in streams.items()}
    images = pipeline(
        [prompt for prompt in PROMPTS for _ in range(FRAMES)], prior_num_inference_steps=25,
        decoder_num_inference_steps=STEPS, super_res_num_inference_steps=SR_STEPS, prior_latents=latents[16,],
        decoder_latents=latents[3, 16, 16], super_res_latents=latents[3, 32, 32], output_type="np",
    ).images  # fmt: skip
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def our_noise() -> Callable[[tuple[int, ...], int], Tensor]:
    """Return what draws the noise of the next step of a stream for every frame, shape (2 · FRAMES, ...)."""
    sources: dict[int, SeededNoise] = {}

    def draw(shape: tuple[int, ...], stream: int) -> Tensor:
        clip = shape if len(shape) == 1 else (shape[0], FRAMES, *shape[1:])
        source = sources.setdefault(stream, SeededNoise(SEEDS, clip, stream=stream))
        drawn = source().double()
        return drawn.repeat_interleave(FRAMES, 0) if len(shape) == 1 else drawn.transpose(1, 2).flatten(0, 1)

    return draw


@torch.no_grad()
def test_every_frame_of_a_clip_is_the_image_that_diffusers_makes_of_its_noise(
    karlo: Path, pipeline_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Pipeline.from_pretrained(pipeline_folder)
    encoder, decoder, prior = (ours.cascade.members[role].network for role in ("clip", "decoder", "prior"))
    assert isinstance(encoder, UnclipTextEncoder)
    expected = theirs(karlo, encoder, our_noise(), monkeypatch)

    def encode(texts: list[str]) -> Tensor:
        return torch.cat([UnclipTextEncoder.encode_words(encoder, [text]) for text in texts]).double()

    for role, member in ours.cascade.members.items():
        if role != "clip":
            member.network.double()
    for empty in (decoder.get_buffer("net.conditioning.null_text"), prior.get_buffer("denoiser.net.null_text")):
        torch.testing.assert_close(empty, encode([""])[0], atol=1e-5, rtol=0)
        empty.copy_(encode([""])[0])
    single = SeededNoise.__call__
    monkeypatch.setattr(SeededNoise, "__call__", lambda self: single(self).double())
    monkeypatch.setattr(encoder, "encode_words", encode)
    requests = [TextRequest(prompt=Prompt(text), fps=8.0, seed=seed) for text, seed in zip(PROMPTS, SEEDS, strict=True)]
    clips = torch.cat(list(SamplingChain(ours.cascade, ours.sampling).run(requests, "sr_high")))
    found = (clips.transpose(1, 2).flatten(0, 1) * 0.5 + 0.5).clamp(0, 1)

    assert float(expected.std()) > 0.1  # not saturated
    assert float((expected[0] - expected[FRAMES]).abs().max()) > 0.1  # the prompts differ
    torch.testing.assert_close(found, expected.to(found.dtype), atol=1e-5, rtol=0)


def test_the_networks_of_a_pipeline_are_described_by_their_cards(karlo: Path, pipeline_folder: Path) -> None:
    cards = {role: read_card(pipeline_folder / role) for role in UNCLIP_ROLES}
    assert {role: card.network["class"] for role, card in cards.items()} == {
        "clip": "UnclipTextEncoder", "prior": "UnclipPrior", "decoder": "HybridDenoiser", "sr_low": "EpsDenoiser",
    }  # fmt: skip
    assert cards["prior"].network["clip_range"] == 5.0
    assert cards["sr_low"].network["net"]["class"] == "LastStepExpert"
    weights = load_file(karlo / "prior" / "diffusion_pytorch_model.safetensors")
    norm = (weights["clip_mean"].double().square() + weights["clip_std"].double().square()).sum().sqrt()
    assert cards["decoder"].network["net"]["cond_norm"] == pytest.approx(float(norm))


@torch.no_grad()
def test_the_last_step_has_a_network_of_its_own_in_super_resolution(pipeline_folder: Path) -> None:
    denoiser = load_network(pipeline_folder / "sr_low")
    net = denoiser.net
    assert isinstance(net, LastStepExpert)
    noise = net.training_sigmas()[[0, 400]].float().log() / 4
    x, cond = torch.randn(2, 6, 32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 768)
    found = net(x, noise, cond)
    assert torch.equal(found[:1], net.last(x[:1], noise[:1], cond[:1]))
    assert torch.equal(found[1:], net.first(x[1:], noise[1:], cond[1:]))
    assert not torch.allclose(found[:1], net.first(x[:1], noise[:1], cond[:1]))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(x, noise, cond).float(), found, rtol=0.1, atol=0.1)


def test_commands_make_a_pipeline_and_clips(karlo: Path, pipeline_folder: Path, tmp_path: Path) -> None:
    decoder, out = pipeline_folder / "decoder", tmp_path / "pipeline"
    words = ["pipeline", "--from", "karlo", karlo, "--decoder", decoder, "--frames", 2, "--steps", 2, "--out", out]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    stored = read_pipeline_file(out)
    assert (stored.sampling.low_factor, stored.sampling.frames, stored.sampling.guidance_scale) == (2, 2, 8.0)
    assert stored.checkpoints.decoder == network_id(decoder)

    words = ["generate", "a red fox", "--pipeline", out, "--format", "frames", "--no-mark", "--out", tmp_path / "clips"]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "clips").rglob("*.png"))) == 2 + 1  # and the contact sheet


def own_network(place: Path, role: str, **net: Any) -> Path:
    """Write a random network of our own U-Net."""
    node = {**NODES[role], "net": {**NODES[role]["net"], **net}}
    torch.manual_seed(0)
    weights = {name: torch.randn_like(value) * 0.2 for name, value in instantiate(node).state_dict().items()}
    write_network(place, weights, Card.of(node))
    return place


def pipeline_command(karlo: Path, *words: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in ("pipeline", "--from", "karlo", karlo, "--steps", 2, *words)])


def test_networks_of_our_own_keep_their_noise_levels_and_inputs_beside_those_of_the_folder(
    karlo: Path, tmp_path: Path
) -> None:
    interpolator = own_network(tmp_path / "interpolator", "interpolator", cond_channels=16)
    sr_high = own_network(tmp_path / "sr_high", "sr_high")
    out = tmp_path / "pipeline"
    words = ["--interpolator", interpolator, "--sr-high", sr_high, "--frames", 3, "--skip", 2, "--out", out]
    done = pipeline_command(karlo, *words)
    assert "sr_high: reads the level of added noise (7 input channels); use augmentation above 0" in str(done.exception)
    assert not out.exists()
    done = pipeline_command(karlo, *words, "--augmentation", 0.1, "--factor", 2)
    assert done.exit_code == 0, done.output
    pipeline = Pipeline.from_pretrained(out)
    s, members = pipeline.sampling, pipeline.cascade.denoisers
    assert (s.low_factor, s.high_factor, s.augmentation, s.sr_steps) == (2, 2, 0.1, 7)
    trained = members["decoder"].network.net.training_sigmas()
    assert trained is not None
    assert noise_levels(members["decoder"].network, s, 2)[0] == trained[-1]
    assert torch.equal(noise_levels(members["interpolator"].network, s, 2), karras_sigmas(2, sigma_max=s.sigma_max))
    assert [reads_noise_level(members[role].network) for role in ("sr_low", "sr_high")] == [False, True]
    clips = pipeline("a red fox")
    assert clips.shape == (1, 5, 64, 64, 3)
    lower = Pipeline.from_pretrained(out, sigma_max=40.0)("a red fox")
    assert not np.array_equal(clips, lower), "it counts for networks of continuous levels"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--factor", "4"], "factor: 4 has no effect without --sr-low or --sr-high; omit it"),
        (["--augmentation", "0.1"], "augmentation: 0.1 has no effect: `sr_low` reads no level of added noise"),
        (["--size", "32"], "was trained for frames of 16 pixels, and the pipeline's have 32"),
        (["--sampler", "ddmi"], "sampler: must be one of .* Did you mean `dd"),
        (["--vae", "{vae}"], "vae: `decoder` generates pixels, not latents, so no autoencoder is needed; leave it out"),
        (["--decoder", "{decoder}"], "prior: returns captions together with image embeddings, but `decoder` reads"),
        (["--interpolator", "{decoder}"], "interpolator: takes image embeddings of length 8, and those of `clip` have"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_the_folder_are_refused(
    words: list[str], message: str, karlo: Path, tmp_path: Path
) -> None:
    made = {"decoder": own_network(tmp_path / "decoder", "decoder")}
    if "{vae}" in words:
        made["vae"] = tiny_diffusers.autoencoder(tmp_path / "vae")
    done = pipeline_command(karlo, *(word.format(**made) for word in words), "--frames", 2, "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert re.search(message, str(done.exception)), str(done.exception)
    assert not (tmp_path / "out").exists()


def test_trained_levels_of_a_pipeline_without_any_are_refused(text_pipeline: Path) -> None:
    with pytest.raises(UserError, match="noise_levels: `trained` needs a network with discrete noise levels, but this"):
        Pipeline.from_pretrained(text_pipeline, noise_levels="trained")


def test_a_memory_budget_is_rejected_where_a_network_computes_with_values(pipeline_folder: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be used with this pipeline: .* \(Cannot copy out of meta tensor"):
        Pipeline.from_pretrained(pipeline_folder, memory="1 TB")


def test_images_are_not_embedded_by_a_text_encoder(pipeline_folder: Path, tmp_path: Path) -> None:
    clips = np.zeros((1, 2, 16, 16, 3), np.uint8)
    with pytest.raises(UserError, match="clip: the text encoder of an unCLIP pipeline embeds no images"):
        Pipeline.from_pretrained(pipeline_folder).variation(clips)
    write_lossless(tmp_path / "clip.mkv", clips[0], 8.0)
    (tmp_path / "clips").mkdir()
    words = [
        "generate",
        "--variation",
        tmp_path / "clip.mkv",
        "--pipeline",
        pipeline_folder,
        "--out",
        tmp_path / "clips",
    ]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert "embeds no images" in str(done.exception) and not any((tmp_path / "clips").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation": 0.1}, "augmentation: 0.1 has no effect: `sr_low` reads no level .*; use augmentation=0"),
        ({"steps": 1001}, "steps: a network has 1000 noise levels, got 1001 steps"),
        ({"sigma_max": 20.0}, "sigma_max: 20 has no effect with noise_levels=trained"),
    ],
)
def test_settings_that_the_networks_cannot_take_are_refused(
    settings: dict[str, Any], message: str, pipeline_folder: Path
) -> None:
    with pytest.raises(UserError, match=message):
        Pipeline.from_pretrained(pipeline_folder, **settings)


def test_a_scheduler_that_does_not_name_its_only_schedule_is_read_as_its_class_is(tmp_path: Path) -> None:
    file = tmp_path / "scheduler_config.json"
    file.write_text('{"_class_name": "UnCLIPScheduler", "variance_type": "learned_range"}')  # as Karlo's
    assert read_scheduler(file)["beta_schedule"] == "squaredcos_cap_v2"
    file.write_text('{"_class_name": "DDPMScheduler"}')
    assert "beta_schedule" not in read_scheduler(file)


# What is done to a copy of the folder → the message.
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing folder": (lambda at: shutil.rmtree(at), "no such folder; give one"),
    "no index": (lambda at: (at / "model_index.json").unlink(), "not a diffusers pipeline, `model_index.json` is"),
    "another pipeline": (
        lambda at: edit(at / "model_index.json", _class_name="StableDiffusionPipeline"),
        "holds a StableDiffusionPipeline; expected an UnCLIPPipeline",
    ),
    "code as pipeline": (
        lambda at: edit(at / "model_index.json", _class_name=["my_pipeline", "MyPipeline"]),
        "of code in its own folder, which is never run; expected an UnCLIPPipeline",
    ),
    "code as part": (
        lambda at: edit(at / "model_index.json", prior=["my_prior", "PriorTransformer"]),
        "`prior` is a PriorTransformer of my_prior, whose code is not run; expected",
    ),
    "part not named": (lambda at: edit(at / "model_index.json", prior=[None, None]), "the part `prior` is missing"),
    "part not there": (lambda at: shutil.rmtree(at / "super_res_last"), "the part `super_res_last` is missing"),
    "prior of another version": (
        lambda at: edit(at / "prior" / "config.json", new_switch=1, _diffusers_version="9.9.9"),
        "`new_switch` is not an argument of the PriorTransformer of diffusers .* written by version 9.9.9",
    ),
    "scheduler of another version": (
        lambda at: edit(at / "prior_scheduler" / "scheduler_config.json", new_switch=1),
        "prior_scheduler/scheduler_config.json: `new_switch` is not an argument of the UnCLIPScheduler",
    ),
    "scheduler with another range": (
        lambda at: edit(at / "prior_scheduler" / "scheduler_config.json", clip_sample_range="wide"),
        "scheduler_config.json.clip_sample_range: must be a finite number above 0, got 'wide'",
    ),
    "prior of another shape": (
        lambda at: edit(at / "prior" / "config.json", num_layers="many"),
        "prior/config.json.denoiser.net: a UnclipPriorNetwork cannot be built of these arguments",
    ),
    "prior of another length": (
        lambda at: edit(at / "prior" / "config.json", num_embeddings=24),
        "prior: the weights are not those .* of another shape, first `positional_embedding`",
    ),
    "another scheduler": (
        lambda at: edit(at / "decoder_scheduler" / "scheduler_config.json", _class_name="DDIMScheduler"),
        "is of a DDIMScheduler; expected UnCLIPScheduler",
    ),
    "code as model": (
        lambda at: edit(at / "prior" / "config.json", auto_map={"AutoModel": "net.Net"}),
        "`auto_map` in config.json asks for code .* never run",
    ),
    "half a prior": (lambda at: halve(at / "prior"), "prior: the weights are not those .*: .* missing, first `"),
    "half a decoder": (lambda at: halve(at / "decoder"), "decoder: the weights are not those .*: .* missing"),
    "pickled prior": (lambda at: pickled(at / "prior"), "weights are pickles, which can run code and are never read"),
    "pickled text encoder": (
        lambda at: pickled(at / "text_encoder", "model.safetensors"),
        "model.safetensors is missing; its weights are pickles",
    ),
    "short tokenizer": (
        lambda at: edit(at / "tokenizer" / "tokenizer_config.json", model_max_length=8),
        "cuts captions after 8 tokens, and the text encoder reads 20",
    ),
    "uneven factor": (
        lambda at: edit(at / "super_res_first" / "config.json", sample_size=40),
        "must upsample by a whole factor, got a `sample_size` of 16 .* and of 40",
    ),
}


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def halve(part: Path) -> None:
    file = part / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(dict(list(weights.items())[::2]), file)


def pickled(part: Path, name: str = "diffusion_pytorch_model.safetensors") -> None:
    (part / name).unlink()
    (part / Path(name).with_suffix(".bin")).write_bytes(b"x")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_named_with_one_message_and_nothing_is_written(case: str, karlo: Path, tmp_path: Path) -> None:
    tiny_diffusers.check_refused("karlo", karlo, *BAD[case], tmp_path)


def test_a_pipeline_without_networks_names_those_that_are_required(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pipeline", "--out", str(tmp_path / "out")])
    assert "--clip, --prior, --decoder missing; give folders of trained networks, or --from" in str(done.exception)
    done = CliRunner().invoke(app, ["pipeline", "--from", "carlo", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "source: must be one of `karlo`, `stable-unclip`, got 'carlo'. Did you mean `karlo`?" in str(done.exception)
