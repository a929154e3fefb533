"""CLIPs in Hugging Face's format, on a tiny one that is made here."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from doll_clip import write_doll_clip
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mav_lightning.adopt import AdoptCLIP
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.config import instantiate, load_config
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.decoder import SpatialDecoder
from mav_lightning.modules.denoising import Denoising
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.huggingface_clip import HuggingFaceCLIP
from mav_lightning.networks.stored import load_network

transformers = pytest.importorskip("transformers")
CAPTIONS = ["a red circle", "a blue square on a dark background", "x " * 40]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_doll_clip(tmp_path_factory.mktemp("tiny-clip"))


def sha256(source: Path) -> str:
    return hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def adopted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceCLIP:
    """Loaded from the stage alone: the source has gone."""
    copy, out = tmp_path_factory.mktemp("copy") / "clip", tmp_path_factory.mktemp("stage")
    shutil.copytree(source, copy)
    AdoptCLIP(copy, sha256(source)).run(out, seed=None, track=untracked)
    shutil.rmtree(copy)
    clip = load_network(out)
    assert isinstance(clip, HuggingFaceCLIP)
    return clip


@torch.no_grad()
def test_images_are_embedded_as_the_library_does(source: Path, adopted: HuggingFaceCLIP) -> None:
    model = transformers.CLIPModel.from_pretrained(source).eval()
    pixels = torch.rand(3, 3, 24, 24) * 2 - 1
    mean, std = (torch.tensor(values)[:, None, None] for values in (
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ))  # fmt: skip
    seen = model.vision_model(pixel_values=((pixels + 1) / 2 - mean) / std).pooler_output
    expected = torch.nn.functional.normalize(model.visual_projection(seen), dim=1)
    torch.testing.assert_close(adopted.encode_image(pixels), expected)
    assert adopted.encode_image(torch.rand(2, 3, 50, 40)).shape == (2, 12), "any size is scaled"


def test_the_end_of_a_caption_beyond_the_limit_is_named(adopted: HuggingFaceCLIP) -> None:
    assert adopted.unread("a red circle") == ""
    assert adopted.unread("a " * 22 + "b c d").split() == ["b", "c", "d"]
    assert adopted.unknown_words("zebra", frozenset()) == [], "it reads parts of words"
    assert adopted.encode_words(["a " * 22 + "b c d"]).shape == (1, 25, 12)


@torch.no_grad()
def test_texts_are_embedded_as_the_library_does(source: Path, adopted: HuggingFaceCLIP) -> None:
    model = transformers.CLIPModel.from_pretrained(source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    given = tokenizer(CAPTIONS, padding="max_length", max_length=24, truncation=True, return_tensors="pt")
    found = model.text_model(**given)
    expected = torch.nn.functional.normalize(model.text_projection(found.pooler_output), dim=1)
    torch.testing.assert_close(adopted.encode_text(CAPTIONS), expected)


@torch.no_grad()
def test_words_have_rows_and_padding_has_none(adopted: HuggingFaceCLIP) -> None:
    words = adopted.encode_words(CAPTIONS)
    assert words.shape == (3, 1 + 24, 12) and (adopted.channels, adopted.length) == (12, 24)
    told = (words[:, 1:] != 0).any(dim=2).sum(dim=1).tolist()
    assert told == [2 + len("aredcircle"), 24, 24], "start, end and a token a letter, cut at the model's length"


def test_it_takes_the_small_clips_place(adopted: HuggingFaceCLIP) -> None:
    assert FrozenCLIP(adopted)(torch.rand(2, 3, 16, 16)).shape == (2, 12)


def test_other_weights_are_refused_and_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"have another hash than .* give source_sha256={sha256(source)}"):
        AdoptCLIP(source, "0" * 64).run(tmp_path / "out", seed=None, track=untracked)
    assert not (tmp_path / "out").exists()
    words = ["stage/clip_huggingface.yaml", f"task.source={source}", f"task.source_sha256={sha256(source)}"]
    done = CliRunner().invoke(app, ["train", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert load_network(tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ('{"image_mean": "gray"}', "image_mean: must be a list, each item")],
)
def test_a_description_of_images_that_cannot_be_read_is_refused(
    content: str, message: str, source: Path, tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "clip")
    (tmp_path / "clip" / "preprocessor_config.json").write_text(content)
    with pytest.raises(UserError, match=rf"preprocessor_config\.json.*{message}"):
        AdoptCLIP(tmp_path / "clip", sha256(source)).run(tmp_path / "out", seed=None, track=untracked)


def test_a_clip_with_a_part_missing_is_refused(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "half")
    weights = load_file(source / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("text_model.final")}
    save_file(kept, tmp_path / "half" / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="2 weights of the CLIP are missing, first `text_model.final_layer_norm.bias`"):
        AdoptCLIP(tmp_path / "half", sha256(tmp_path / "half")).run(tmp_path / "out", seed=None, track=untracked)
    (tmp_path / "half" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="not a readable CLIP"):
        AdoptCLIP(tmp_path / "half", sha256(tmp_path / "half")).run(tmp_path / "out", seed=None, track=untracked)
    assert not (tmp_path / "out").exists()


def test_a_network_for_other_embeddings_is_told_which_key_to_set(adopted: HuggingFaceCLIP) -> None:
    config = load_config("stage/spatial_tiny.yaml")["module"]
    denoising = Denoising(FrozenCLIP(adopted), LogNormalNoise(), torch.optim.AdamW, lambda step: 1.0)
    with pytest.raises(UserError, match="denoiser.net.cond_channels: must be 12 like the encoder's .*, got 64"):
        SpatialDecoder(instantiate(config["denoiser"]), denoising)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a CLIP in Hugging Face's format, `config.json` is missing; give a"):
        AdoptCLIP(tmp_path, "0" * 64).run(tmp_path / "out", seed=None, track=untracked)
