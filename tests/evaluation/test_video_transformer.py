"""VideoMAE and V-JEPA 2 from folders that transformers wrote, against transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import Clip, evaluate
from evaluation.extractors.video_transformer import VideoTransformer, VideoTransformerSettings
from evaluation.protocol import parse_protocol
from mav_lightning.common.errors import UserError
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.media.media_reader import read_clip

transformers = pytest.importorskip("transformers")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "num_labels": 3}


def write_model(kind: str, folder: Path) -> Any:
    torch.manual_seed(0)
    if kind.startswith("videomae"):
        config = transformers.VideoMAEConfig(image_size=16, patch_size=8, num_frames=4, intermediate_size=16, **SMALL)
        own = transformers.VideoMAEForVideoClassification if "classifier" in kind else transformers.VideoMAEModel
    else:
        predictor = {"pred_hidden_size": 16, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        config = transformers.VJEPA2Config(crop_size=16, patch_size=8, frames_per_clip=4, **SMALL, **predictor)
        own = transformers.VJEPA2ForVideoClassification if "classifier" in kind else transformers.VJEPA2Model
    model = own(config).eval()
    model.save_pretrained(folder)
    return model


def settings(folder: Path, sha256: str | None = None) -> VideoTransformerSettings:
    return VideoTransformerSettings(str(folder), "torch-bilinear", 16, MEAN, STD, sha256)


def clip(frames: int = 4) -> Clip:
    return Clip("a", np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 3)).astype(np.uint8), 8.0)


@pytest.mark.parametrize("kind", ["videomae", "videomae classifier", "vjepa2", "vjepa2 classifier"])
def test_features_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    model = write_model(kind, tmp_path)
    extractor = settings(tmp_path).load(Path()).extractor
    pixels = torch.from_numpy(clip().pixels).permute(0, 3, 1, 2)[None].float() / 255
    normal = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        found = extractor(extractor.prepare(clip())[None])
        if "classifier" in kind:  # what the last layer is given
            seen: list[torch.Tensor] = []
            model.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            model(normal)
            wanted = seen[0]
        else:
            wanted = model(normal).last_hidden_state.mean(dim=1)

    torch.testing.assert_close(found[:, 0], wanted, rtol=1e-5, atol=1e-6)


def test_the_identity_is_that_of_weights_and_configuration(tmp_path: Path) -> None:
    write_model("videomae", tmp_path / "a")
    write_model("videomae", tmp_path / "b")
    first, second = (settings(tmp_path / name).load(Path()).sha256 for name in "ab")
    config = tmp_path / "b" / "config.json"
    config.write_text(config.read_text().replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-5'))

    assert first == second != settings(tmp_path / "b").load(Path()).sha256


def test_another_number_of_frames_is_refused(tmp_path: Path) -> None:
    write_model("videomae", tmp_path)

    with pytest.raises(UserError, match="clip `a`: the model takes 4 frames, got 5; use a protocol with that many"):
        settings(tmp_path).load(Path()).extractor.prepare(clip(5))


def test_folders_that_do_not_fit_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        settings(tmp_path / "none").load(Path())
    write_model("videomae", tmp_path)
    with pytest.raises(UserError, match=f"has sha256 .*, not {'0' * 64}"):
        settings(tmp_path, "0" * 64).load(Path())
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"model_type": "videomae"', '"model_type": "vit"'))
    with pytest.raises(UserError, match="holds a `vit`; provide one of videomae, vjepa2"):
        settings(tmp_path).load(Path())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not a readable videomae or vjepa2"):
        settings(tmp_path).load(Path())


def test_clips_are_decoded_once_for_all_metrics_and_embedded_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("videomae", "vjepa2"):
        write_model(kind, tmp_path / kind)
    for side, count in (("made", 10), ("real", 9)):
        (tmp_path / side).mkdir()
        for number in range(count):
            pixels = np.random.default_rng((count, number)).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
            write_lossless(tmp_path / side / f"{number}.mkv", pixels, 8.0)
    decoded, batches = list[str](), list[tuple[str, int]]()

    def count_decoding(media: Any, numbers: Any) -> Any:
        decoded.append("/".join(Path(media.name).parts[-2:]))
        return read_clip(media, numbers)

    def count_batch(network: VideoTransformer, prepared: torch.Tensor) -> torch.Tensor:
        batches.append((network.model.config.model_type, len(prepared)))
        return forward(network, prepared)

    forward = VideoTransformer.forward
    monkeypatch.setattr("evaluation.cuts.read_clip", count_decoding)
    monkeypatch.setattr(VideoTransformer, "forward", count_batch)
    every = {"clips": None, "start": "first"}
    one = {"kind": "video-transformer", "resize": "torch-bilinear", "size": 16, "mean": list(MEAN), "std": list(STD)}
    values: dict[str, Any] = {
        "frames": 4, "fps": None, "stride": 1, "resize": [], "seed": 0, "batch": 4,
        "generated": every, "real": every | {"split": "val", "choice": "first", "repeat": False, "fewer": False},
        "extractors": {kind: one | {"weights": kind} for kind in ("videomae", "vjepa2")},
        "metrics": {
            "fvd": {"kind": "frechet", "of": "videomae", "divisor": "n"}, "kvd": {"kind": "kernel", "of": "videomae"},
            "jedi": {"kind": "kernel", "of": "vjepa2", "degree": 2, "offset": 0.0, "pairs": "all", "scale": 100.0},
        },
    }  # fmt: skip
    protocol, places = parse_protocol("mine.yaml", values), [tmp_path / side for side in ("made", "real")]
    for _ in range(2):
        evaluate(*places, protocol, force=True, weights=tmp_path, features=tmp_path / "features")

    assert sorted(decoded) == sorted([f"made/{n}.mkv" for n in range(10)] + [f"real/{n}.mkv" for n in range(9)])
    wanted = {kind: [4] * 5 for kind in ("videomae", "vjepa2")}  # 19 clips; the last batch is filled up
    shapes_only = [one for one in batches if one[1] == 1]  # a blank clip shows how many features there are
    embedded = [own for own in batches if own not in shapes_only]
    assert {kind: [n for name, n in embedded if name == kind] for kind in wanted} == wanted
