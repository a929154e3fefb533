"""Stable unCLIP's network of latents: conditioned on noisy image embeddings as diffusers' own pipeline does it."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_diffusers
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusers import grow
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser, VDenoiser
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.samplers import ddim
from mav_lightning.networks.stored import load_network
from mav_lightning.pretrained.diffusers_export import export_diffusers
from mav_lightning.pretrained.empty_caption import encode_caption
from mav_lightning.pretrained.grown_conditioning import ProjectedConditioning
from mav_lightning.pretrained.grown_source import read_grown_source
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.latent_vae import LatentVAE
from mav_lightning.pretrained.timesteps import NoiseSchedule

diffusers = pytest.importorskip("diffusers")
GUIDANCE, T = 3.0, 600


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusers.stable_unclip(tmp_path_factory.mktemp("stable"))


@pytest.fixture(scope="module")
def grown(source: Path, tmp_path_factory: pytest.TempPathFactory) -> NetDenoiser:
    return grow(source, tmp_path_factory.mktemp("grown") / "network").double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(source: Path, image: Tensor, level: int, noise: Tensor) -> Tensor:
    """What diffusers' pipeline gives the network for image embeddings."""
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    folder = source.parent
    pipeline = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=None, image_encoder=None, tokenizer=None, text_encoder=None, vae=None,
        image_normalizer=StableUnCLIPImageNormalizer.from_pretrained(folder / "image_normalizer"),
        image_noising_scheduler=diffusers.DDPMScheduler.from_pretrained(folder / "image_noising_scheduler"),
        unet=diffusers.UNet2DConditionModel.from_pretrained(source),
        scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"),
    )  # fmt: skip
    found: Tensor = pipeline.noise_image_embeddings(image, noise_level=level, noise=noise)
    return found


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 300])
def test_a_guided_step_is_that_of_diffusers(level: int, source: Path, grown: NetDenoiser) -> None:
    image, noise, latents = 5 * draw(2, 12, seed=1), draw(2, 12, seed=2), draw(2, 4, 16, 16)
    model = diffusers.UNet2DConditionModel.from_pretrained(source).double().eval()
    scheduler = diffusers.DDIMScheduler.from_pretrained(source.parent / "scheduler")
    scheduler.set_timesteps(5)
    given = labels(source, image, level, noise)
    empty = encode_caption(source, "", projected=False).double().expand(2, -1, -1)
    without, with_image = (
        model(latents, T, empty, class_labels=one).sample for one in (torch.zeros_like(given), given)
    )
    predicted = without + GUIDANCE * (with_image - without)
    expected = scheduler.step(predicted, T, latents).pred_original_sample

    assert isinstance(grown, VDenoiser)
    conditioning = grown.net.get_submodule("conditioning")
    assert isinstance(conditioning, ProjectedConditioning)
    cond = conditioning.augmented(image, level, noise)
    torch.testing.assert_close(cond, given, atol=1e-5, rtol=1e-6)
    product = scheduler.alphas_cumprod[T].double()
    sigma = (1 / product - 1).sqrt().expand(2)
    found = Guided(grown, GUIDANCE)(latents / product.sqrt(), sigma, cond).x0
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def image_encoder() -> Any:
    import transformers

    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(2)
    return transformers.CLIPVisionModelWithProjection(config).eval()


@torch.no_grad()
def test_all_steps_and_the_autoencoder_give_the_pixels_of_diffusers(source: Path, grown: NetDenoiser) -> None:
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    vae = LatentVAE({**tiny_diffusers.AUTOENCODER, "scaling_factor": 0.3})
    tiny_diffusers.randomized(vae.model).double()
    encoder = image_encoder().double()
    folder, steps, level = source.parent, 5, 20
    pipeline = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=None, image_encoder=encoder, tokenizer=None, text_encoder=None, vae=vae.model,
        image_normalizer=StableUnCLIPImageNormalizer.from_pretrained(folder / "image_normalizer").double(),
        image_noising_scheduler=diffusers.DDPMScheduler.from_pretrained(folder / "image_noising_scheduler"),
        unet=diffusers.UNet2DConditionModel.from_pretrained(source).double(),
        scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    empty = encode_caption(source, "", projected=False).double()[None]
    picture, latents = draw(1, 3, 8, 8, seed=1), draw(1, 4, 16, 16)
    expected = pipeline(
        picture, prompt_embeds=empty, negative_prompt_embeds=empty, latents=latents, noise_level=level,
        guidance_scale=GUIDANCE, num_inference_steps=steps, output_type="pt",
        generator=torch.Generator().manual_seed(7),
    ).images  # fmt: skip

    trained = grown.net.training_sigmas()
    assert trained is not None
    sigmas = torch.cat([trained[pipeline.scheduler.timesteps], torch.zeros(1, dtype=torch.float64)])
    image, noise = encoder(picture).image_embeds, draw(1, 12, seed=7)
    cond = grown.net.get_submodule("conditioning").augmented(image, level, noise)  # type: ignore[operator]
    start = latents * (1 + sigmas[0].square()).sqrt() / sigmas[0]  # of the variance-exploding process
    guided = Guided(grown, GUIDANCE)
    found = vae.decode(ddim(lambda x, sigma: guided(x, sigma, cond), lambda: start, sigmas))
    torch.testing.assert_close((found / 2 + 0.5).clamp(0, 1), expected, atol=1e-5, rtol=1e-5)
    assert 0.1 < float(((expected > 0) & (expected < 1)).double().mean()), "almost all pixels are clipped"


@torch.no_grad()
def test_an_embedding_alone_is_read_without_noise(grown: NetDenoiser) -> None:
    image, x, sigma = draw(2, 12), draw(2, 4, 16, 16), torch.ones(2, dtype=torch.float64)
    level = torch.cat([torch.ones(6), torch.zeros(6)]).double().expand(2, -1)
    torch.testing.assert_close(grown(x, sigma, image).x0, grown(x, sigma, torch.cat([image, level], 1)).x0)


def test_the_statistics_of_embeddings_are_stored(source: Path, tmp_path: Path) -> None:
    grow(source, tmp_path / "grown")
    stored = load_network(tmp_path / "grown").get_submodule("net.conditioning")
    normalizer = load_file(source.parent / "image_normalizer" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(stored.get_buffer("embedding_mean"), normalizer["mean"][0])
    assert torch.equal(stored.get_buffer("embedding_std"), normalizer["std"][0])


def test_statistics_of_another_length_and_levels_out_of_range_are_named(
    source: Path, grown: NetDenoiser, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="level: must be from 0 to 999, got 1000"):
        grown.net.get_submodule("conditioning").augmented(draw(1, 12), 1000, draw(1, 12))  # type: ignore[operator]
    folder = Path(shutil.copytree(source.parent, tmp_path / "other"))
    save_file(
        {"mean": torch.zeros(1, 8), "std": torch.ones(1, 8)},
        folder / "image_normalizer" / "diffusion_pytorch_model.safetensors",
    )
    with pytest.raises(UserError, match="image_normalizer: the weights are not those .* 2 of another shape"):
        read_grown_source(folder / "unet", GrownUNet)


def test_an_export_is_read_again_to_the_same_bits(source: Path, tmp_path: Path) -> None:
    network = grow(source, tmp_path / "grown").state_dict()
    export_diffusers(tmp_path / "grown", tmp_path / "share")
    again = read_grown_source(tmp_path / "share" / "unet", partial(GrownUNet, text_tokens=tiny_diffusers.TOKENS))
    again.complete(tmp_path / "share" / "temporal.safetensors")
    found = again.denoiser.state_dict()
    assert found.keys() == network.keys()
    assert all(torch.equal(found[name], value) for name, value in network.items())
    assert again.node["net"]["image_noising"] == asdict(NoiseSchedule(beta_schedule="squaredcos_cap_v2"))
