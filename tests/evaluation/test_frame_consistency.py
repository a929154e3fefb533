"""Consistency of frames: by hand, its invariances, and DINO from folders that transformers wrote."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import Clip, load_protocol
from evaluation.extractors.image_transformer import ImageTransformerSettings
from evaluation.metrics.base import Features
from evaluation.metrics.frame_consistency import FrameConsistency, frame_consistency
from mav_lightning.common.errors import UserError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = np.sqrt(0.5)


def test_by_hand() -> None:
    frames = np.array([[[1.0, 0.0], [HALF, HALF], [0.0, 1.0], [-1.0, 0.0]]])
    np.testing.assert_allclose(frame_consistency(frames), [(HALF + HALF + 0) / 3])
    # to the previous and to the first: (h, h), (h, 0), (0, -1 counted as 0)
    np.testing.assert_allclose(frame_consistency(frames, "first-and-previous"), [3 * HALF / 2 / 3])


def test_a_static_clip_has_one_and_lengths_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(rng.normal(size=(2, 1, 5)), 4, axis=1)
    moving = rng.normal(size=(2, 4, 5))
    for against in ("previous", "first-and-previous"):
        np.testing.assert_allclose(frame_consistency(still, against), 1.0)
        scaled = moving * rng.uniform(1, 9, size=(2, 4, 1))
        np.testing.assert_allclose(frame_consistency(scaled, against), frame_consistency(moving, against))


def extracted(frames: int) -> Any:
    values = np.random.default_rng(0).normal(size=(3, frames, 5))
    sides = {
        "generated": Features(["a", "b", "c"], ["v", "v", "w"], values),
        "real": Features(["r"], ["r"], values[:1]),
    }
    return SimpleNamespace(features=lambda _, side: sides[side], cuts=lambda side: sides[side].ids)


def test_clips_of_one_video_count_as_one_value() -> None:
    found = FrameConsistency("clip").measure("consistency", extracted(4))
    a, b, c = (found.clips[name]["consistency"] for name in "abc")
    assert found.scores["consistency"].value == pytest.approx(((a + b) / 2 + c) / 2)
    assert found.reference["consistency"] == pytest.approx(a) and found.scores["consistency"].n == 3
    with pytest.raises(UserError, match="clips of 1 frame have no consistency; use a protocol with more frames"):
        FrameConsistency("clip").measure("consistency", extracted(1))


def write_model(kind: str, folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = {"vit": transformers.ViTConfig, "dinov2": transformers.Dinov2Config}.get(kind, transformers.BertConfig)
    sizes = {"image_size": 16, "patch_size": 8} if kind != "bert" else {"vocab_size": 9}
    own = config(hidden_size=16, num_attention_heads=2, num_hidden_layers=2, intermediate_size=16, **sizes)
    model = transformers.AutoModel.from_config(own).eval()
    model.save_pretrained(folder)
    return model


def settings(folder: Path, sha256: str | None = None) -> ImageTransformerSettings:
    return ImageTransformerSettings(str(folder), "torch-bilinear", 16, MEAN, STD, sha256)


def clip(frames: int = 3) -> Clip:
    return Clip("a", np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 3)).astype(np.uint8), 8.0)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_features_are_the_class_tokens_of_transformers(kind: str, tmp_path: Path) -> None:
    model = write_model(kind, tmp_path)
    extractor = settings(tmp_path).load(Path()).extractor
    pixels = torch.from_numpy(clip().pixels).permute(0, 3, 1, 2).float() / 255
    normal = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        found = extractor(extractor.prepare(clip())[None])
        wanted = model(normal).last_hidden_state[:, 0]
    assert found.shape == (1, 3, 16)
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-6)


def test_another_model_and_other_weights_are_refused(tmp_path: Path) -> None:
    write_model("bert", tmp_path / "bert")
    with pytest.raises(UserError, match="holds a `bert`; provide one of dinov2"):
        settings(tmp_path / "bert").load(Path())
    write_model("vit", tmp_path / "vit")
    with pytest.raises(UserError, match="sha256"):
        settings(tmp_path / "vit", "0" * 64).load(Path())


def test_the_protocol_measures_both() -> None:
    assert list(load_protocol("consistency").numbers()) == ["frame-consistency", "subject-consistency"]
