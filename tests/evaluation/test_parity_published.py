"""Every published protocol's numbers beside an independent computation: which frames, which resize, which divisor."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cleanfid.fid import get_folder_features
from cleanfid.inception_torchscript import InceptionV3W
from numpy.typing import NDArray
from PIL import Image
from recipes import polynomial_mmd
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evaluation import evaluate, load_protocol
from evaluation.extractors.i3d import I3DNetwork
from evaluation.protocol import FOLDER
from evaluation.resize import resize_frames
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.media.media_reader import read_frames

Array = NDArray[np.float64]
HEIGHT, WIDTH, LONG = 18, 26, 20  # frames that are stored; protocols take 16 of them
CAPTIONS = ["a red circle", "a blue square", "the green one"]


class Classes(nn.Module):
    """Five classes, by the brightness of five bands."""

    def forward(self, x: Tensor) -> Tensor:
        return (nn.functional.adaptive_avg_pool3d(x.float(), [1, 5, 1]).mean(dim=1).flatten(1) / 6).softmax(dim=1)


class Layers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 32).flatten(1)[:, :2048]


class TinyInception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return self.layers(img)


def folder(root: Path, count: int, seed: int, captions: bool = False) -> Path:
    """Clips of noise that drifts, so that other frames of a clip give other numbers."""
    rng, records = np.random.default_rng(seed), []
    root.mkdir()
    for number in range(count):
        start, drift = rng.uniform(0, 200, (HEIGHT, WIDTH, 3)), rng.normal(0, 4, (1, 1, 3))
        frames = np.stack([(start + drift * step + 20 * seed).clip(0, 255).astype(np.uint8) for step in range(LONG)])
        write_lossless(root / f"{number:02}.mkv", frames, 25.0)
        records.append(ClipRecord(f"{number:02}", f"{number:02}.mkv", 25.0, CAPTIONS[number % 3], {}))
    if captions:
        write_manifest(root, records)
    return root


def frames(root: Path, first: int = 0) -> NDArray[np.uint8]:
    """Sixteen of each clip: (N, 16, H, W, 3)."""
    return np.stack([read_frames(file)[first : first + 16] for file in sorted(root.glob("*.mkv"))])


def scored(
    name: str, weights: Path, generated: Path, real: Path | None = None, *changes: tuple[str, str], force: bool = True
) -> dict[str, float]:
    """Values under a shipped protocol, of which numbers of clips, hashes and what `changes` says are replaced."""
    text = (FOLDER / f"{name}.yaml").read_text()
    count = str(len(list(generated.glob("*.mkv"))))
    usual = ((r"clips: \d{4,5}", f"clips: {count}"), (r", sha256: \w{64}", ""), (r", git_blob: \w{40}", ""))
    for old, new in (*usual, *changes):
        assert old in dict(usual) or re.search(old, text), old
        text = re.sub(old, new, text)
    # real clips begin where anybody can tell
    known = text.replace("start: random", "start: center").replace("choice: windows", "choice: shuffled")
    (weights / "mine.yaml").write_text(known)
    results = evaluate(generated, real, load_protocol(str(weights / "mine.yaml")), force=force, weights=weights)
    return {metric: score["value"] for metric, score in results["metrics"].items()}


def frechet(a: Array, b: Array) -> float:
    """Over n-1, exact below full rank: the trace of (AB)^½ is the nuclear norm of the centered rows' product."""
    x, y = ((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (a, b))
    trace = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.square(x).sum() + np.square(y).sum() - 2 * trace)


def lively_i3d(path: Path) -> dict[str, Tensor]:
    """Weights under which unlike clips get unlike logits, and epsilon matters."""
    with torch.device("meta"):
        draw, state = torch.Generator("cpu").manual_seed(0), I3DNetwork().state_dict()
    for name, value in state.items():
        if value.ndim == 5:
            state[name] = torch.randn(value.shape, generator=draw) * (2 / value[0].numel()) ** 0.5
        elif value.ndim == 0:
            state[name] = torch.zeros(value.shape, dtype=value.dtype)
        elif name.endswith("running_var"):
            state[name] = 0.05 + torch.rand(value.shape, generator=draw)
        elif value.ndim == 1:
            state[name] = torch.rand(value.shape, generator=draw) + (0.5 if name.endswith("weight") else -0.5)
    torch.save(state, path)
    return state


def logits(state: dict[str, Tensor], epsilon: float, frames: NDArray[Any], resize: Callable[[Tensor], Tensor]) -> Array:
    with torch.device("meta"):
        network = I3DNetwork(epsilon)
    network.load_state_dict(state, assign=True)
    seen = [resize(torch.from_numpy(clip).movedim(-1, 1).float()).transpose(0, 1) for clip in frames]
    with torch.no_grad():
        return network.eval()(2 * torch.stack(seen) / 255 - 1).double().numpy()


def torch_bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, (32, 32), mode="bilinear")


def tf1_bilinear(x: Tensor) -> Tensor:
    """Along one axis, then the other: pixel i lies at i · scale."""
    for axis in (2, 3):
        side = x.shape[axis]
        places = torch.arange(32) * side / 32
        low = places.long()
        share = (places - low).reshape([-1 if own == axis else 1 for own in range(4)])
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, (low + 1).clamp(max=side - 1)) * share
    return x


# name, epsilon, resize; then the same with one thing changed each
I3D_PROTOCOLS = [
    ("fvd-tats-2048x16", 1e-5, torch_bilinear, [(1e-3, torch_bilinear), (1e-5, tf1_bilinear)]),
    ("fvd-ucf10k", 1e-3, tf1_bilinear, [(1e-5, tf1_bilinear), (1e-3, torch_bilinear)]),
]


@pytest.mark.parametrize(("name", "epsilon", "resize", "others"), I3D_PROTOCOLS, ids=["tats", "ucf10k"])
def test_i3d_has_the_epsilon_and_the_resize_that_the_protocol_names(
    tmp_path: Path, name: str, epsilon: float, resize: Callable[[Tensor], Tensor], others: list[Any]
) -> None:
    made, real = folder(tmp_path / "made", 8, 1), folder(tmp_path / "real", 8, 2)
    state = lively_i3d(tmp_path / "i3d_pretrained_400.pt")
    values = scored(name, tmp_path, made, real, ("size: 224", "size: 32"))
    value, steps = values[name], load_protocol(name).resize
    sides = [np.stack([resize_frames(clip, steps) for clip in own]) for own in (frames(made), frames(real, first=2))]

    def rows(epsilon: float, resize: Callable[[Tensor], Tensor]) -> list[Array]:
        return [logits(state, epsilon, own, resize) for own in sides]

    named = rows(epsilon, resize)
    assert value == pytest.approx(frechet(*named), rel=1e-5)
    # Third powers that cancel: what batches of 8 and of 16 round otherwise comes out as 3e-5 on some processors.
    assert values[name.replace("fvd", "kvd")] == pytest.approx(polynomial_mmd(*named), rel=1e-4)
    for other in others:
        assert value != pytest.approx(frechet(*rows(*other)), rel=1e-4)


def test_the_inception_score_is_of_ten_splits_in_the_order_of_hashed_ids(tmp_path: Path) -> None:
    made = folder(tmp_path / "made", 47, 1)
    torch.jit.script(Classes()).save(str(tmp_path / "c3d_ucf101.pt"))
    (value,) = scored("is-styleganv-2048", tmp_path, made, force=False).values()

    video = torch.from_numpy(frames(made)).movedim(-1, 1)
    p = torch.jit.load(str(tmp_path / "c3d_ucf101.pt"))(video).double().numpy()

    def score(order: list[int]) -> float:
        kl = [(part * np.log(part / part.mean(axis=0))).sum(axis=1).mean() for part in np.array_split(p[order], 10)]
        return float(np.exp(kl).mean())

    hashed = sorted(range(47), key=lambda number: hashlib.sha256(f"{number:02}.mkv".encode()).digest())
    assert value == pytest.approx(score(hashed), rel=1e-6)
    assert value != pytest.approx(score(list(range(47))), rel=1e-6)


def test_fid_is_that_of_clean_fid_on_the_same_frames_as_pictures(tmp_path: Path) -> None:
    made, real = folder(tmp_path / "made", 2, 1), folder(tmp_path / "real", 2, 2)
    torch.jit.script(TinyInception()).save(str(tmp_path / "inception-2015-12-05.pt"))
    value = scored("fid-clean", tmp_path, made, real)["fid-clean"]

    rows = []
    for side, own in (("a", frames(made)), ("b", frames(real, first=2))):
        (tmp_path / side).mkdir()
        for number, frame in enumerate(own.reshape(-1, HEIGHT, WIDTH, 3)):
            Image.fromarray(frame).save(tmp_path / side / f"{number:03}.png")
        network = InceptionV3W(str(tmp_path), download=False)
        device = torch.device("cpu")
        rows.append(get_folder_features(str(tmp_path / side), network, 0, device=device, verbose=False))
    assert value == pytest.approx(frechet(*(own.astype(np.float64) for own in rows)), rel=1e-5)


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights and a vocabulary of letters, where the protocols look for it."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("weights")
    where, letters = root / "openai" / "clip-vit-base-patch32", "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[]).save_pretrained(where)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokens), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 24, "patch_size": 8}, projection_dim=12
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    for weight in model.parameters():  # the library's own start gives all frames nearly the same features
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.6)
    model.eval().save_pretrained(where)
    crop = {"height": 24, "width": 24}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size=crop).save_pretrained(where)
    return root


@torch.no_grad()
@pytest.mark.parametrize("name", ["clipsim-b32-msrvtt-2990", "clipsim-b32-msrvtt-59794", "clipfid-b32-msrvtt"])
def test_clip_measures_are_those_of_the_librarys_own_features(tmp_path: Path, clip_weights: Path, name: str) -> None:
    import transformers

    made, real = folder(tmp_path / "made", 9, 1, captions=True), folder(tmp_path / "real", 9, 2)
    values = scored(name, clip_weights, made, real, force=False)

    where = clip_weights / "openai" / "clip-vit-base-patch32"
    model = transformers.CLIPModel.from_pretrained(where).eval()
    processor = transformers.CLIPImageProcessorPil.from_pretrained(where)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)

    def seen(own: NDArray[np.uint8]) -> Tensor:
        pixels = processor(images=list(own.reshape(-1, HEIGHT, WIDTH, 3)), return_tensors="pt")["pixel_values"]
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).double()

    read = [tokenizer([CAPTIONS[number % 3]], return_tensors="pt") for number in range(9)]
    texts = torch.cat([model.text_projection(model.text_model(**one).pooler_output) for one in read]).double()
    cosines = F.cosine_similarity(seen(frames(made)).unflatten(0, (9, 16)), texts[:, None], dim=-1)
    similarity = "clipsim-b32-msrvtt-2990" if name == "clipfid-b32-msrvtt" else name
    assert values[similarity] == pytest.approx(cosines.mean().item(), abs=1e-7)
    if name == "clipfid-b32-msrvtt":
        wanted = frechet(seen(frames(made)).numpy(), seen(frames(real, first=2)).numpy())
        assert values[name] == pytest.approx(wanted, rel=1e-5)
