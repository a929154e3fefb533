"""Tiny random models, saved by diffusers and transformers in the formats of the real ones."""

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.networks.stored import load_network
from mav_lightning.pretrained.diffusers_folder import read_part
from mav_lightning.pretrained.grow_task import GrowDiffusers
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.latent_vae import write_autoencoder

KARLO_DECODER = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 6,
    "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
    "up_block_types": ["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "resnet_time_scale_shift": "scale_shift",
    "class_embed_type": "identity",
}
SUPER_RES = {
    "sample_size": 32,
    "in_channels": 6,
    "out_channels": 3,
    "layers_per_block": 1,
    "down_block_types": ["ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"],
    "up_block_types": ["ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"],
    "block_out_channels": [32, 64],
    "resnet_time_scale_shift": "scale_shift",
}
TEXT_TO_IMAGE = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [32, 64],
    "layers_per_block": 2,
    "cross_attention_dim": 16,
    "attention_head_dim": 8,
}
UNCONDITIONAL = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "attention_head_dim": 8,
}
AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 16],
    "norm_num_groups": 4,
    "latent_channels": 4,
    "sample_size": 32,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = 20


def randomized(model: Any, seed: int = 0) -> Any:
    """Give every weight a random value: diffusers starts some layers at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        offset = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        parameter.data = scale * torch.randn(parameter.shape, generator=generator) + offset
    return model.eval()


def unconditional(folder: Path, **changes: Any) -> Path:
    """A UNet2DModel with its scheduler in one folder, as google/ddpm-cifar10-32."""
    import diffusers

    randomized(diffusers.UNet2DModel(**{**UNCONDITIONAL, **changes})).save_pretrained(folder)
    diffusers.DDPMScheduler(beta_schedule="linear").save_pretrained(folder)
    return folder


def text_encoder(folder: Path, dim: int = 16) -> Any:
    """A CLIP text encoder with a vocabulary of letters, in the parts `text_encoder` and `tokenizer`."""
    import transformers

    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    tokenizer = transformers.CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    config = transformers.CLIPTextConfig(
        hidden_size=dim, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, projection_dim=dim,
        vocab_size=len(tokens), max_position_embeddings=TOKENS, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(1)
    encoder = transformers.CLIPTextModelWithProjection(config).eval()
    encoder.save_pretrained(folder / "text_encoder")
    return encoder


def clip(folder: Path, dim: int = 16) -> Path:
    """A CLIP of images and texts in the format of Hugging Face."""
    import transformers

    text_encoder(folder / "parts", dim)
    transformers.CLIPTokenizer.from_pretrained(folder / "parts" / "tokenizer").save_pretrained(folder)
    text = transformers.CLIPTextConfig.from_pretrained(folder / "parts" / "text_encoder").to_dict()
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 4,
    }  # fmt: skip
    torch.manual_seed(2)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=dim)
    transformers.CLIPModel(config).eval().save_pretrained(folder)
    return folder


def text_to_image(folder: Path, **changes: Any) -> Path:
    """The parts of a Stable Diffusion pipeline that growing reads; returns the folder of its U-Net."""
    import diffusers

    model = diffusers.UNet2DConditionModel(**{**TEXT_TO_IMAGE, **changes})
    randomized(model).save_pretrained(folder / "unet")
    diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(
        folder / "scheduler"
    )
    text_encoder(folder)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder / "unet"


def karlo(folder: Path) -> Path:
    """The parts of Karlo's pipeline that make images; returns its folder."""
    import diffusers

    randomized(diffusers.UNet2DConditionModel(**KARLO_DECODER), 1).save_pretrained(folder / "decoder")
    text_proj = unclip_text_proj()(clip_embeddings_dim=16, time_embed_dim=128, cross_attention_dim=32)
    randomized(text_proj, 2).save_pretrained(folder / "text_proj")
    for seed, name in ((3, "super_res_first"), (4, "super_res_last")):
        randomized(diffusers.UNet2DModel(**SUPER_RES), seed).save_pretrained(folder / name)
    diffusers.UnCLIPScheduler(variance_type="learned_range").save_pretrained(folder / "decoder_scheduler")
    diffusers.UnCLIPScheduler(variance_type="fixed_small_log").save_pretrained(folder / "super_res_scheduler")
    text_encoder(folder)
    (folder / "model_index.json").write_text('{"_class_name": "UnCLIPPipeline"}')
    return folder


@functools.cache
def known_sha256(source: Path, **further: Path) -> str:
    with pytest.raises(UserError, match="give source_sha256=") as asked:
        GrowDiffusers(source, "ask", functools.partial(GrownUNet), **further).run(
            Path("nowhere"), seed=None, track=untracked
        )
    assert not Path("nowhere").exists()
    return str(asked.value).rpartition("=")[2]


def grow(source: Path, out: Path, **options: Any) -> NetDenoiser:
    task = GrowDiffusers(source, known_sha256(source), functools.partial(GrownUNet, **options))
    torch.manual_seed(0)
    task.run(out, seed=None, track=untracked)
    found = load_network(out)
    assert isinstance(found, NetDenoiser)
    return found


def unclip_pipeline(folder: Path) -> Path:
    """A complete UnCLIPPipeline, saved by diffusers itself."""
    import diffusers
    import transformers

    karlo(folder / "parts")
    parts = folder / "parts"
    prior = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=16, num_layers=1, num_embeddings=TOKENS
    )
    pipeline = diffusers.UnCLIPPipeline(
        prior=randomized(prior, 5),
        decoder=diffusers.UNet2DConditionModel.from_pretrained(parts / "decoder"),
        text_encoder=transformers.CLIPTextModelWithProjection.from_pretrained(parts / "text_encoder"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        text_proj=unclip_text_proj().from_pretrained(parts / "text_proj"),
        super_res_first=diffusers.UNet2DModel.from_pretrained(parts / "super_res_first"),
        super_res_last=diffusers.UNet2DModel.from_pretrained(parts / "super_res_last"),
        prior_scheduler=diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
        ),
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range"),
        super_res_scheduler=diffusers.UnCLIPScheduler(variance_type="fixed_small_log"),
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def unclip_text_proj() -> Any:
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    return UnCLIPTextProjModel


def stable_unclip(folder: Path) -> Path:
    """The parts of a Stable unCLIP pipeline that growing reads; returns the folder of its U-Net of latents."""
    import diffusers
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    model = diffusers.UNet2DConditionModel(
        **TEXT_TO_IMAGE | {"in_channels": 4, "out_channels": 4},
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * 12,
    )
    randomized(model).save_pretrained(folder / "unet")
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=12)
    normalizer.mean.data = torch.linspace(-1, 1, 12)[None]
    normalizer.std.data = torch.linspace(0.5, 2, 12)[None]
    normalizer.save_pretrained(folder / "image_normalizer")
    diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "image_noising_scheduler")
    diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
        clip_sample=False,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    text_encoder(folder)
    (folder / "model_index.json").write_text('{"_class_name": "StableUnCLIPImg2ImgPipeline"}')
    return folder / "unet"


def autoencoder(place: Path) -> Path:
    """The network of an autoencoder of four channels and a factor of 2."""
    import diffusers

    model = diffusers.AutoencoderKL(**AUTOENCODER)
    randomized(model).save_pretrained(place / "source")
    write_autoencoder(read_part(place / "source", ("AutoencoderKL",)), place / "network")
    return place / "network"


def stable_unclip_pipeline(folder: Path) -> Path:
    """A complete StableUnCLIPImg2ImgPipeline, saved by diffusers itself: images of 32 pixels, latents of 16."""
    import diffusers
    import transformers
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    parts = stable_unclip(folder / "parts").parent
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(2)
    pipeline = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}
        ),
        image_encoder=transformers.CLIPVisionModelWithProjection(vision).eval(),
        image_normalizer=StableUnCLIPImageNormalizer.from_pretrained(parts / "image_normalizer"),
        image_noising_scheduler=diffusers.DDPMScheduler.from_pretrained(parts / "image_noising_scheduler"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        text_encoder=transformers.CLIPTextModel.from_pretrained(parts / "text_encoder"),
        unet=diffusers.UNet2DConditionModel.from_pretrained(parts / "unet"),
        scheduler=diffusers.DDIMScheduler.from_pretrained(parts / "scheduler"),
        vae=randomized(diffusers.AutoencoderKL(**AUTOENCODER, scaling_factor=0.3)),
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def check_refused(kind: str, source: Path, change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    """Check that ``mav pipeline --from`` refuses a changed copy of a folder with a message and writes nothing."""
    folder = Path(shutil.copytree(source, tmp_path / "changed"))
    change(folder)
    words = ["pipeline", "--from", kind, str(folder), "--frames", "2", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert re.search(message, str(done.exception)), str(done.exception)
    assert {one.name for one in tmp_path.iterdir()} <= {"changed"}
