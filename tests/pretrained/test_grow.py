"""Image networks of diffusers as space-time networks: the same on images, equal to their frames on clips, certified."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_diffusers as folders
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusers import grow
from torch import Tensor

from mav_lightning.certificate import certify_frames
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.diffusion.denoiser import EpsDenoiser, HybridDenoiser
from mav_lightning.networks.card import read_card
from mav_lightning.networks.catalogue import describe_network
from mav_lightning.nn.activation_checkpointing import ActivationCheckpointing
from mav_lightning.pretrained.grow_task import GrowDiffusers
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.timesteps import NoiseSchedule, TimestepOfNoise

diffusers = pytest.importorskip("diffusers")
KINDS = ["unconditional", "text-to-image", "unclip decoder", "super-resolution"]


def fails(source: Path, message: str, out: Path) -> None:
    task = GrowDiffusers(source, "ask", partial(GrownUNet))
    with pytest.raises(UserError, match=message):
        task.run(out, seed=None, track=untracked)
    assert not out.exists()


def noisy(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_certified_and_stored_with_a_report(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    denoiser = grow(sources[name], tmp_path / "grown")
    report = json.loads((tmp_path / "grown" / "grown.json").read_text())

    assert report["certificate"]["error"] <= 1e-12 and report["certificate"]["layer"] is None
    assert list(report["temporal_layers"]) == list(denoiser.net.temporal_layers())  # type: ignore[operator]
    source = load_file(sources[name] / "diffusion_pytorch_model.safetensors")
    grown = load_file(tmp_path / "grown" / "weights.safetensors")
    ours = {theirs: ours for ours, theirs in denoiser.net.source_names().items()}  # type: ignore[operator]
    assert source.keys() == ours.keys()
    assert all(torch.equal(value, grown[f"net.{ours[theirs]}"]) for theirs, value in source.items())
    assert {f"net.{one}" for one in report["new_weights"]} | {f"net.{one}" for one in ours.values()} | {
        one for one in grown if ".text_proj." in one
    } == grown.keys()


@torch.no_grad()
def test_on_images_it_is_the_source(sources: dict[str, Path], tmp_path: Path) -> None:
    grown = grow(sources["unconditional"], tmp_path / "grown", cond_channels=6)
    model = diffusers.UNet2DModel.from_pretrained(sources["unconditional"], use_safetensors=True).eval()
    levels = NoiseSchedule().sigmas().float()
    t = torch.tensor([5, 900])
    images = noisy(2, 3, 16, 16)

    output = grown.net(images, levels[t].log() / 4, torch.zeros(2, 6))
    assert torch.equal(output, model(images, t).sample)


@torch.no_grad()
def test_a_denoiser_of_a_text_to_image_network_is_that_of_diffusers(sources: dict[str, Path], tmp_path: Path) -> None:
    """The estimate of x0, from the caption's encoding and, without condition, from that of the empty caption."""
    grown = grow(sources["text-to-image"], tmp_path / "grown")
    place = sources["text-to-image"]
    model = diffusers.UNet2DConditionModel.from_pretrained(place, use_safetensors=True).eval()
    scheduler = diffusers.DDIMScheduler.from_pretrained(place.parent / "scheduler")
    empty = _encoding(place.parent, "")
    captions = torch.stack([_encoding(place.parent, "a red circle"), torch.zeros_like(empty)])
    t, product = torch.tensor([700, 700]), scheduler.alphas_cumprod[700]
    sigma = (1 / product.double() - 1).sqrt().float().expand(2)
    x = noisy(2, 3, 16, 16)

    noise = model(x, t, torch.stack([captions[0], empty])).sample
    expected = (x - (1 - product).sqrt() * noise) / product.sqrt()
    assert isinstance(grown, EpsDenoiser)
    found = grown(x / product.sqrt(), sigma, captions).x0
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def _encoding(pipeline: Path, caption: str) -> Tensor:
    import transformers

    tokenizer = transformers.CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
    encoder = transformers.CLIPTextModel.from_pretrained(pipeline / "text_encoder").eval()
    ids = tokenizer(caption, padding="max_length", max_length=folders.TOKENS, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids).last_hidden_state[0]


@pytest.mark.parametrize(
    "options",
    [
        {"temporal_attention": False},
        {"temporal_kernel_size": 1},
        {"temporal_attention_everywhere": True},
        {"factorized": False},
        {"fps": "off"},
        {"fps": "embedding", "head_channels": 16},
        {"fps": "only_seconds"},
    ],
)
def test_every_axis_of_ablation_is_an_argument_and_is_certified(
    options: dict[str, Any], sources: dict[str, Path], tmp_path: Path
) -> None:
    full = grow(sources["unconditional"], tmp_path / "full")
    other = grow(sources["unconditional"], tmp_path / "other", **options)
    shapes = [
        {name: value.shape for name, value in one.net.temporal_parameters().items()}  # type: ignore[operator]
        for one in (full, other)
    ]
    assert json.loads((tmp_path / "other" / "grown.json").read_text())["certificate"]["error"] <= 1e-12
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize(
    "options",
    [
        {"temporal_placement": "before"},
        {"temporal_placement": "parallel"},
        {"temporal_causal": True},
        {"temporal_position": "rotary"},
        {"temporal_position": "relative"},
        {"temporal_attention_window": 2},
    ],
    ids=str,
)
def test_every_temporal_setting_of_our_own_network_holds(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = GrownUNet("UNet2DConditionModel", folders.TEXT_TO_IMAGE, NoiseSchedule(), **options)
    assert certify_frames(EpsDenoiser(net, 1.0)).holds


def test_temporal_layers_at_random_break_the_certificate_and_the_first_is_named() -> None:
    torch.manual_seed(0)
    net = GrownUNet("UNet2DModel", folders.UNCONDITIONAL, NoiseSchedule(), identity_init=False)
    found = certify_frames(EpsDenoiser(net, 1.0))

    assert not found.holds
    assert found.layer is not None and "time_" in found.layer or "conv_in" in str(found.layer)


def test_fps_conditions_clips_after_an_update_and_images_never() -> None:
    torch.manual_seed(0)
    net = GrownUNet("UNet2DModel", folders.UNCONDITIONAL, NoiseSchedule(), cond_channels=6)
    folders.randomized(net)
    clips, noise, cond = noisy(1, 3, 4, 16, 16).expand(2, -1, -1, -1, -1), torch.zeros(2), torch.zeros(2, 6)

    with torch.no_grad():
        slow, fast = net(clips, noise, cond, torch.tensor([4.0, 24.0]))
        images = [net(clips[:, :, 0], noise, cond, fps) for fps in (None, torch.tensor([4.0, 24.0]))]
    assert (slow - fast).abs().max() > 1e-3
    assert torch.equal(*images)


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_recomputing_activations_changes_no_gradient(mode: ActivationCheckpointing) -> None:
    gradients = []
    modes: tuple[ActivationCheckpointing, ...] = ("off", mode)
    for checkpointing in modes:
        torch.manual_seed(0)
        net = GrownUNet("UNet2DModel", folders.UNCONDITIONAL, NoiseSchedule(), activation_checkpointing=checkpointing)
        folders.randomized(net)
        clips = net(noisy(1, 3, 4, 16, 16), torch.zeros(1), torch.zeros(1, 768), torch.tensor([8.0]))
        images = net(noisy(2, 3, 16, 16), torch.zeros(2), torch.zeros(2, 768))  # runs between forward and backward
        (clips.square().mean() + images.square().mean()).backward()
        gradients.append({name: parameter.grad for name, parameter in net.named_parameters()})
    plain, again = gradients
    assert plain.keys() == again.keys()
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, atol=1e-6, rtol=1e-5)


def test_learned_variance_and_unclip_conditioning_are_read_as_in_training(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    grown = grow(sources["unclip decoder"], tmp_path / "grown")
    assert isinstance(grown, HybridDenoiser) and grown.channels == 3
    sigmas = NoiseSchedule(beta_schedule="squaredcos_cap_v2").sigmas()
    assert grown.ratio**1000 == pytest.approx(float(sigmas[0] / sigmas[-1]))
    with torch.no_grad():
        found = grown(noisy(2, 3, 16, 16), torch.ones(2), noisy(2, 16))
    assert found.variance_fraction is not None and found.x0.shape == found.variance_fraction.shape == (2, 3, 16, 16)


def test_timesteps_are_integers_at_levels_of_the_training_and_between_them_in_between() -> None:
    schedule = NoiseSchedule(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    theirs = diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    timestep = TimestepOfNoise(schedule)
    sigmas = (1 / theirs.double() - 1).sqrt()

    assert torch.equal(schedule.sigmas(), sigmas)
    assert torch.equal(timestep(sigmas.float().log() / 4), torch.arange(1000).float())
    between = (sigmas[10] * sigmas[11]).sqrt().log() / 4
    assert float(timestep(between[None])) == pytest.approx(10.5, abs=1e-4)
    assert timestep(torch.tensor([-100.0, 100.0])).tolist() == [0.0, 999.0]


@pytest.mark.parametrize("beta_schedule", ["linear", "squaredcos_cap_v2"])
def test_noise_schedules_are_those_of_diffusers(beta_schedule: str) -> None:
    theirs = diffusers.DDPMScheduler(beta_schedule=beta_schedule).alphas_cumprod.double()
    ours = NoiseSchedule(beta_schedule=beta_schedule).sigmas()  # type: ignore[arg-type]
    torch.testing.assert_close(ours, (1 / theirs - 1).sqrt(), rtol=1e-6, atol=0)


def _edited(source: Path, target: Path, **changes: Any) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_bad_folders_are_named_each_with_one_message(sources: dict[str, Path], tmp_path: Path) -> None:
    good, out = sources["unconditional"], tmp_path / "out"
    cases = {
        "is not an argument of the UNet2DModel of diffusers .*; the config was written by version 9.9.9": _edited(
            good, tmp_path / "other-version", new_switch=True, _diffusers_version="9.9.9"
        ),
        "`auto_map` in config.json asks for code .*, which is never run": _edited(
            good, tmp_path / "code", auto_map={"AutoModel": "model.Net"}
        ),
        "holds a AutoencoderKL; expected UNet2DModel or": _edited(good, tmp_path / "vae", _class_name="AutoencoderKL"),
        "blocks of type 'SkipDownBlock2D' are not supported": _edited(
            good, tmp_path / "blocks", down_block_types=["SkipDownBlock2D", "AttnDownBlock2D"]
        ),
        "`time_embedding_type` is 'fourier'; supported are 'positional'": _edited(
            good, tmp_path / "fourier", time_embedding_type="fourier"
        ),
        "is a whole pipeline; give one of its models: unet": sources["text-to-image"].parent,
        "no such folder; give one that `save_pretrained` of diffusers wrote": tmp_path / "nowhere",
        "needs the part `text_proj` of its pipeline": Path(
            shutil.copytree(sources["unclip decoder"], tmp_path / "alone")
        ),
    }
    shutil.copy(good / "scheduler_config.json", tmp_path / "alone")
    for message, folder in cases.items():
        fails(folder, message, out)


def test_weights_that_are_missing_pickled_halved_or_not_finite_are_named(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    good, out, file = sources["unconditional"], tmp_path / "out", "diffusion_pytorch_model.safetensors"
    weights = load_file(good / file)

    def changed(name: str, kept: dict[str, Tensor] | None, other: str | None = None) -> Path:
        folder = Path(shutil.copytree(good, tmp_path / name))
        (folder / file).unlink()
        if kept is not None:
            save_file(kept, folder / file)
        if other is not None:
            (folder / other).write_bytes(b"x")
        return folder

    half = dict(list(weights.items())[: len(weights) // 2])
    fails(changed("half", half), r"the weights are not those .*: \d+ missing, first `", out)
    first = next(iter(weights))
    fails(changed("nan", {**weights, first: weights[first] * float("nan")}), f"`{first}` is not finite", out)
    fails(changed("bin", None, "diffusion_pytorch_model.bin"), "are pickles, which can run code and are never", out)
    fails(changed("shards", None, f"{file}.index.json"), "divided among several files; save it again", out)
    fails(changed("fp16", None, "diffusion_pytorch_model.fp16.safetensors"), "it has diffusion_py.*; rename", out)
    fails(changed("damaged", None, file), "cannot be read .*; copy the file again", out)
    bare = changed("bare", weights)
    (bare / "scheduler_config.json").unlink()
    fails(bare, "the noise levels of its training are unknown", out)


def test_weights_of_half_precision_and_of_old_names_are_read(sources: dict[str, Path], tmp_path: Path) -> None:
    good, file = sources["unconditional"], "diffusion_pytorch_model.safetensors"
    folder = Path(shutil.copytree(good, tmp_path / "old"))
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = {}
    for name, value in load_file(good / file).items():
        for new, before in old.items():
            name = name.replace(new, before)
        weights[name] = value.half()
    save_file(weights, folder / file)
    grown = grow(folder, tmp_path / "grown").state_dict()
    exact = grow(good, tmp_path / "exact").state_dict()
    for name, value in exact.items():
        torch.testing.assert_close(grown[name], value.half().float() if "unet." in name else value, rtol=0, atol=1e-3)


def test_a_stored_network_named_in_a_config_is_described_by_its_own_card(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    grow(sources["unconditional"], tmp_path / "grown")

    described = describe_network({"_network_": str(tmp_path / "grown")})
    assert described == read_card(tmp_path / "grown").network
    assert described["class"] == "EpsDenoiser" and described["net"]["class"] == "GrownUNet"


def test_naming_the_network_does_not_import_diffusers() -> None:
    code = "import sys, mav_lightning.pretrained.grow_task; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_bad_folder_ends_the_command_with_one_message_and_writes_no_network(tmp_path: Path) -> None:
    command = ["train", "stage/grow_diffusers.yaml", f"task.source={tmp_path}/none", "--out", f"{tmp_path}/out"]
    done = subprocess.run([sys.executable, "-m", "mav_lightning", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such folder; give one that `save_pretrained` of diffusers wrote" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} <= {"run.json", "lease.json"}
