"""CLIP from a folder, on a tiny one that is made here: the numbers are the library's and torchmetrics'."""

import hashlib
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchmetrics.functional.multimodal import clip_score

from evaluation.clip_sources import Clip
from evaluation.extractors.clip_vit import CLIP, clip_identity
from mav_lightning.common.errors import UserError

transformers = pytest.importorskip("transformers")
LENGTH, SIZE = 24, 24
CAPTIONS = ["a red circle", "a blue square"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights and a vocabulary of letters, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[]).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokens), "max_position_embeddings": LENGTH, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**small, "image_size": SIZE, "patch_size": 8}
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    for weight in model.parameters():  # the library's own start gives all frames nearly the same features
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.6)
    model.eval().save_pretrained(folder)
    crop = {"height": SIZE, "width": SIZE}
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=crop)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def clip(seed: int = 0, frames: int = 4, height: int = 40, width: int = 57) -> Clip:
    """Random colours in 3 x 3 blocks, one for every patch."""
    blocks = np.random.default_rng(seed).integers(0, 256, (frames, 3, 3, 3)).astype(np.uint8)
    pixels = np.kron(blocks, np.ones((1, -(-height // 3), -(-width // 3), 1), np.uint8))[:, :height, :width]
    return Clip(str(seed), pixels, 8.0, CAPTIONS[seed % 2], {}, str(seed))


def features(extractor: CLIP, *clips: Clip) -> Tensor:
    return extractor(torch.stack([extractor.prepare(one) for one in clips]))


def torchmetrics_score(source: Path, images: Tensor, captions: list[str]) -> float:
    """CLIPScore with Pillow's processor. Transformers 5 wraps features in an object that torchmetrics 1.9 cannot."""
    model = transformers.CLIPModel.from_pretrained(source).eval()

    def bare(found: Any) -> Tensor:
        return found if isinstance(found, Tensor) else found.pooler_output

    unwrapped = SimpleNamespace(
        config=model.config,
        get_image_features=lambda *given: bare(model.get_image_features(*given)),
        get_text_features=lambda *given: bare(model.get_text_features(*given)),
    )
    unwrapped.to = lambda device: unwrapped
    processor = transformers.CLIPProcessor(
        image_processor=transformers.CLIPImageProcessorPil.from_pretrained(source),
        tokenizer=transformers.AutoTokenizer.from_pretrained(source),
    )
    return clip_score(list(images), captions, lambda: (unwrapped, processor)).item()


def cosines(extractor: CLIP, clips: list[Clip]) -> Tensor:
    captions = extractor.texts([one.prompt or "" for one in clips])
    return torch.einsum("ntd,nd->nt", features(extractor, *clips), captions)


@torch.no_grad()
def test_clipsim_is_torchmetrics_clip_score_over_100(source: Path) -> None:
    """But for its clamping to at least 0, which comes after the mean over pairs."""
    extractor, clips = CLIP(source), [clip(seed) for seed in range(6)]
    means = cosines(extractor, clips).mean(dim=1)
    assert means.min() < -0.01 and means.max() > 0.01, "both signs"
    for one, mean in zip(clips, means, strict=True):
        images = torch.from_numpy(one.pixels).movedim(-1, 1)
        score = torchmetrics_score(source, images, [one.prompt or ""] * len(images))
        assert score / 100 == pytest.approx(max(mean.item(), 0.0), abs=1e-6)


@torch.no_grad()
def test_negative_clips_count_in_torchmetrics_mean_too(source: Path) -> None:
    extractor, clips = CLIP(source), [clip(seed) for seed in range(6)]
    found = cosines(extractor, clips)
    assert (found < 0).any() and found.mean() > 0.01
    images = torch.cat([torch.from_numpy(one.pixels).movedim(-1, 1) for one in clips])
    captions = [one.prompt or "" for one in clips for _ in one.pixels]
    assert torchmetrics_score(source, images, captions) / 100 == pytest.approx(found.mean().item(), abs=1e-6)


@torch.no_grad()
def test_frames_are_prepared_as_openai_describes(source: Path) -> None:
    """Short side to the size, bicubic in uint8; the center; [0, 1]; mean and deviation of each colour."""
    one = clip()
    wanted = []
    for frame in one.pixels:
        scaled = np.asarray(Image.fromarray(frame).resize((34, 24), Image.Resampling.BICUBIC))  # 57 · 24 / 40 = 34.2
        wanted.append((scaled[:, 5:29] / 255 - MEAN) / STD)
    got = CLIP(source).prepare(one)
    assert got.shape == (4, 3, SIZE, SIZE) and got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), np.stack(wanted).transpose(0, 3, 1, 2), atol=1e-5)


def test_frames_three_pixels_high_are_not_taken_for_colours(source: Path) -> None:
    assert CLIP(source).prepare(clip(height=3, width=30)).shape == (4, 3, SIZE, SIZE)


@torch.no_grad()
def test_features_are_the_librarys(source: Path) -> None:
    model = transformers.CLIPModel.from_pretrained(source).eval()
    clips = [clip(0), clip(1, height=30)]
    pixels = torch.cat([CLIP(source).prepare(one) for one in clips])
    raw = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).unflatten(0, (2, 4))
    torch.testing.assert_close(features(CLIP(source, normalize=False), *clips), raw)
    torch.testing.assert_close(features(CLIP(source), *clips), raw / raw.norm(dim=2, keepdim=True))
    assert (raw.norm(dim=2) - 1).abs().min() > 0.1, "normalising matters"


@torch.no_grad()
def test_many_frames_and_captions_go_in_parts(source: Path) -> None:
    extractor = CLIP(source)
    prepared = extractor.prepare(clip(frames=70, height=SIZE, width=SIZE))
    torch.testing.assert_close(extractor(prepared[None])[0, 66:], extractor(prepared[None, 66:])[0])
    captions = [f"a {'b' * (i % 9)}" for i in range(300)]
    assert extractor.texts(captions).shape == (300, 12)
    torch.testing.assert_close(extractor.texts(captions)[290:], extractor.texts(captions[290:]))


@torch.no_grad()
def test_captions_are_cut_at_the_models_length_and_keep_their_end(source: Path) -> None:
    extractor = CLIP(source)
    model = transformers.CLIPModel.from_pretrained(source).eval()
    ids = torch.tensor([[0, *[53] * (LENGTH - 2), 1]])  # start, "z" 22 times, end
    wanted = F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=1)
    torch.testing.assert_close(extractor.texts(["z " * 40]), wanted)
    torch.testing.assert_close(extractor.texts(["z " * 22]), wanted)
    torch.testing.assert_close(extractor.texts(["a red circle", "z " * 40])[0], extractor.texts(["a red circle"])[0])


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Encountered caption longer")
def test_torchmetrics_cuts_the_end_off_long_captions(source: Path) -> None:
    extractor, one = CLIP(source), clip(2)
    images = torch.from_numpy(one.pixels).movedim(-1, 1)
    for letters, same in ((LENGTH - 2, True), (LENGTH - 1, False)):
        ours = (features(extractor, one)[0] @ extractor.texts(["q " * letters])[0]).mean().clamp(min=0).item()
        theirs = torchmetrics_score(source, images, ["q " * letters] * len(images)) / 100
        assert (abs(ours - theirs) < 1e-6) == same


@torch.no_grad()
def test_old_weights_are_read_as_tensors_alone(source: Path, copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    torch.testing.assert_close(features(CLIP(copy), clip()), features(CLIP(source), clip()), rtol=0, atol=0)
    torch.save(weights | {"harm": SimpleNamespace()}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="not a readable CLIP"):
        CLIP(copy)


@torch.no_grad()
def test_half_precision_weights_are_computed_in_full(source: Path, copy: Path) -> None:
    halves = {name: value.half() for name, value in load_file(copy / "model.safetensors").items()}
    save_file(halves, copy / "model.safetensors", {"format": "pt"})
    found = features(CLIP(copy), clip())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, features(CLIP(source), clip()), rtol=0, atol=1e-2)


def test_nothing_is_asked_of_the_network(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert CLIP(source).texts(CAPTIONS).shape == (2, 12)


def test_networks_are_frozen(source: Path) -> None:
    extractor = CLIP(source)
    assert not any(weight.requires_grad for weight in extractor.parameters())
    assert not extractor.model.training


def test_the_identity_is_of_the_files_that_are_read(source: Path, copy: Path) -> None:
    whole = clip_identity(source)
    assert whole.weights == hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    (copy / "README.md").write_text("not read")
    (copy / "pytorch_model.bin").write_bytes(b"not read either, beside safetensors")
    assert clip_identity(copy) == whole, "wherever it lies"
    names = sorted(path.name for path in source.iterdir())
    lines = [f"{name}\0{hashlib.sha256((source / name).read_bytes()).hexdigest()}\n" for name in names]
    assert whole.files == hashlib.sha256("".join(lines).encode()).hexdigest()
    settings = (copy / "preprocessor_config.json").read_text()
    (copy / "preprocessor_config.json").write_text(settings.replace('"resample": 3', '"resample": 2'))
    changed = clip_identity(copy)
    assert changed.files != whole.files and changed.weights == whole.weights


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "config.json",
            "not a CLIP in Hugging Face's format; expected config.json and model.safetensors or",
        ),
        ("model.safetensors", "not a CLIP in Hugging Face's format"),
        ("preprocessor_config.json", "has no file of an image processor, such as preprocessor_config.json; copy it"),
        ("tokenizer*.json", "has no file of a tokenizer, such as tokenizer.json"),
    ],
)
def test_folders_with_a_file_missing_are_refused(copy: Path, gone: str, message: str) -> None:
    for path in copy.glob(gone):
        path.unlink()
    for read in (CLIP, clip_identity):
        with pytest.raises(UserError, match=message):
            read(copy)


def test_folders_with_a_part_missing_or_broken_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("visual_projection")}
    save_file(kept, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match="1 weights of the CLIP are missing, first `visual_projection.weight`; download it"
    ):
        CLIP(copy)
    (copy / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"not a readable CLIP \(.*\); download it again"):
        CLIP(copy)


def test_the_extra_is_named_where_it_is_not_installed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers; run `pip install '.\[clip\]'` in a checkout"):
        CLIP(source)


def test_float_frames_are_refused(source: Path) -> None:
    one = clip()
    with pytest.raises(UserError, match="frames must be uint8 in 0..255, got float64"):
        CLIP(source).prepare(Clip(one.id, one.pixels / 255, 8.0, None, {}, ""))  # type: ignore[arg-type]
