"""Karlo's decoder and super-resolution, sampled by this project: the pixels of diffusers' own pipeline."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_diffusers import grow
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.samplers import ddpm
from mav_lightning.pretrained.timesteps import NoiseSchedule

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
SIGMAS = NoiseSchedule(beta_schedule="squaredcos_cap_v2").sigmas()
GUIDANCE, STEPS, SHARP_STEPS = 4.0, 5, 3


def theirs(folder: Path, embeddings: Tensor, latents: list[Tensor]) -> Tensor:
    """Images of diffusers' unCLIP pipeline from image embeddings, shape (B, 3, 32, 32)."""
    from diffusers.pipelines.deprecated.unclip import UnCLIPImageVariationPipeline
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        projection_dim=16,
    )  # fmt: skip
    pipeline = UnCLIPImageVariationPipeline(
        decoder=diffusers.UNet2DConditionModel.from_pretrained(folder / "decoder"),
        text_encoder=transformers.CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text_proj=UnCLIPTextProjModel.from_pretrained(folder / "text_proj"),
        feature_extractor=None,
        image_encoder=transformers.CLIPVisionModelWithProjection(vision),
        super_res_first=diffusers.UNet2DModel.from_pretrained(folder / "super_res_first"),
        super_res_last=diffusers.UNet2DModel.from_pretrained(folder / "super_res_last"),
        decoder_scheduler=diffusers.UnCLIPScheduler.from_pretrained(folder / "decoder_scheduler"),
        super_res_scheduler=diffusers.UnCLIPScheduler.from_pretrained(folder / "super_res_scheduler"),
    ).to(torch.float64)
    pipeline.set_progress_bar_config(disable=True)
    exactly(pipeline.decoder_scheduler)
    exactly(pipeline.super_res_scheduler)
    pipeline.text_encoder.float().register_forward_hook(
        lambda module, inputs, output: SimpleNamespace(
            text_embeds=output.text_embeds.double(), last_hidden_state=output.last_hidden_state.double()
        )
    )
    images = pipeline(
        image_embeddings=embeddings, decoder_latents=latents[0], super_res_latents=latents[1],
        generator=torch.Generator().manual_seed(3), decoder_num_inference_steps=STEPS,
        super_res_num_inference_steps=SHARP_STEPS, decoder_guidance_scale=GUIDANCE, output_type="np",
    ).images  # fmt: skip
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def exactly(scheduler: Any) -> None:
    """Let a scheduler compute in float64: in float32 its 1 - ᾱ loses three digits, and the first step's 1 - β all."""
    products = scheduler.alphas_cumprod.double()
    scheduler.one = torch.ones((), dtype=torch.float64)
    scheduler.alphas_cumprod, scheduler.alphas = products, products / torch.cat([scheduler.one[None], products[:-1]])
    scheduler.betas = 1 - scheduler.alphas


def levels(steps: int) -> Tensor:
    """Noise levels at the timesteps of diffusers' scheduler, then 0."""
    scheduler = diffusers.UnCLIPScheduler()
    scheduler.set_timesteps(steps)
    return torch.cat([SIGMAS[scheduler.timesteps], torch.zeros(1, dtype=torch.float64)])


def noise_of(latent: Tensor, sigma: float, generator: torch.Generator) -> Callable[[], Tensor]:
    """Unit noise for our samplers: first what leads to the latent, then the generator's."""
    first = [latent * (1 + sigma**2) ** 0.5 / sigma]
    return lambda: first.pop() if first else torch.randn(latent.shape, generator=generator, dtype=latent.dtype)


def clipped(denoised: Denoised) -> Denoised:
    return denoised._replace(x0=denoised.x0.clamp(-1, 1))


@torch.no_grad()
def test_decoder_and_super_resolution_give_the_pixels_of_diffusers(sources: dict[str, Path], tmp_path: Path) -> None:
    folder = sources["unclip decoder"].parent
    names = ("decoder", "super_res_first", "super_res_last")
    parts = {name: grow(folder / name, tmp_path / name).double() for name in names}
    draw = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 16, generator=draw, dtype=torch.float64)
    latents = [torch.randn(2, 3, size, size, generator=draw, dtype=torch.float64) for size in (16, 32)]
    noise = torch.Generator().manual_seed(3)

    guided, sigmas = Guided(parts["decoder"], GUIDANCE), levels(STEPS)
    small = ddpm(
        lambda x, sigma: clipped(guided(x, sigma, embeddings)), noise_of(latents[0], float(sigmas[0]), noise), sigmas
    ).clamp(-1, 1)
    upsampled = F.interpolate(small, size=[32, 32], mode="bicubic", align_corners=False, antialias=True)
    sigmas, none = levels(SHARP_STEPS), torch.zeros(2, 768, dtype=torch.float64)

    def sharpen(x: Tensor, sigma: Tensor) -> Denoised:
        last = float(sigma[0]) <= float(sigmas[-2])
        return clipped(parts["super_res_last" if last else "super_res_first"](x, sigma, none, concat_cond=upsampled))

    large = ddpm(sharpen, noise_of(latents[1], float(sigmas[0]), noise), sigmas)
    found, expected = (large * 0.5 + 0.5).clamp(0, 1), theirs(folder, embeddings, latents)
    assert float(expected.std()) > 0.1  # not saturated
    torch.testing.assert_close(found, expected.to(found.dtype), atol=1e-5, rtol=0)
