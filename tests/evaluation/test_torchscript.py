"""Extractors from TorchScript files, on small files that are called as the real ones are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.clip_sources import Clip
from evaluation.extractors.classifier_torchscript import TorchScriptClassifier
from evaluation.extractors.i3d_torchscript import TorchScriptI3D
from evaluation.extractors.inception import Inception
from evaluation.resize import resizer
from mav_lightning.common.errors import UserError


class TinyI3D(nn.Module):
    """Tells what it was given: switches, type, shape, mean of each colour, then one pixel."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        given = torch.tensor([float(rescale), float(resize), float(return_features), float(x.dtype == torch.uint8)])
        shape = torch.tensor([float(side) for side in x.shape[1:]])
        facts = torch.cat([given, shape]).expand(x.shape[0], 8)
        return torch.cat([facts, x.float().mean(dim=[2, 3, 4]), x[:, 1, 2, 3, 4, None].float()], dim=1)


class TinyC3D(nn.Module):
    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        logits = x.float().mean(dim=[3, 4])[:, :, :4].flatten(1) / 40
        return logits.softmax(dim=1) if self.softmax else logits


class TinyLayers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 32).flatten(1)[:, :2048]


class TinyInception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = TinyLayers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return self.layers(img)


def script(network: nn.Module, path: Path) -> Path:
    torch.jit.script(network.eval()).save(str(path))
    return path


def clip(seed: int = 0, frames: int = 10, height: int = 14, width: int = 18) -> Clip:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    return Clip(str(seed), pixels, 8.0, None, {}, str(seed))


@pytest.fixture
def i3d(tmp_path: Path) -> Path:
    return script(TinyI3D(), tmp_path / "i3d_torchscript.pt")


def test_i3d_resizes_by_itself_and_gets_the_bytes_as_they_are(i3d: Path) -> None:
    extractor, clips = TorchScriptI3D(i3d), [clip(0), clip(1)]
    features = extractor(torch.stack([extractor.prepare(one) for one in clips]))
    assert features.shape == (2, 1, 12) and features.dtype == torch.float32
    for row, one in zip(features[:, 0], clips, strict=True):
        assert row[:4].tolist() == [1, 1, 1, 1], "rescale, resize, return_features, uint8"
        assert row[4:8].tolist() == [3, 10, 14, 18], "colours first, then time"
        assert row[11] == one.pixels[2, 3, 4, 1]
        np.testing.assert_allclose(row[8:11], one.pixels.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_i3d_is_told_not_to_resize_what_was_resized(i3d: Path) -> None:
    resize = resizer("tf1-bilinear", 224)
    extractor = TorchScriptI3D(i3d, resize)
    clips = [clip(0), clip(1, height=20)]  # of different sizes
    features = extractor(torch.stack([extractor.prepare(one) for one in clips]))
    for row, one in zip(features[:, 0], clips, strict=True):
        assert row[:4].tolist() == [1, 0, 1, 0], "rescale, no resize, return_features, float"
        assert row[4:8].tolist() == [3, 10, 224, 224]
        assert row[11] == resize(one.pixels)[2, 1, 3, 4]
        assert row[8:11].max() > 100, "in 0..255: the file scales to [-1, 1]"


def test_i3d_refuses_what_it_cannot_see(i3d: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clip `0`: I3D needs at least 9 frames, got 8; take 16"):
        TorchScriptI3D(i3d).prepare(clip(frames=8))
    c3d = script(TinyC3D(softmax=True), tmp_path / "c3d.pt")
    with pytest.raises(UserError, match=r"takes \(x\), without rescale, resize, return_features; give the i3d_torch"):
        TorchScriptI3D(c3d)
    with pytest.raises(UserError, match="frames must be uint8"):
        TorchScriptI3D(i3d).prepare(Clip("0", clip().pixels / 255, 8.0, None, {}, "0"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TorchScriptI3D, TorchScriptClassifier])
def test_files_that_are_no_torchscript_are_refused(kind: type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone.pt: no such file; nothing is downloaded, so provide"):
        kind(tmp_path / "gone.pt")
    torch.save({"weight": torch.ones(2)}, tmp_path / "state.pt")
    (tmp_path / "broken.pt").write_bytes(b"broken")
    for name in ("state.pt", "broken.pt"):
        with pytest.raises(UserError, match=rf"{name}: not a TorchScript file .* not a state dict"):
            kind(tmp_path / name)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("size", [None, 6])
def test_a_classifier_gives_probabilities(tmp_path: Path, logits: bool, size: int | None) -> None:
    network = TinyC3D(softmax=True)
    path = script(TinyC3D(softmax=not logits), tmp_path / "c3d.pt")
    resize = None if size is None else resizer("torch-bilinear", size)
    extractor, one = TorchScriptClassifier(path, resize, logits=logits), clip()
    video = torch.from_numpy(one.pixels).float().permute(0, 3, 1, 2) if resize is None else resize(one.pixels)
    found = extractor(extractor.prepare(one)[None])
    assert found.shape == (1, 1, 12) and found.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found[:, 0], network(video.permute(1, 0, 2, 3)[None]))


def test_logits_and_probabilities_are_not_mistaken_for_one_another(tmp_path: Path) -> None:
    one = clip()
    given = TorchScriptClassifier(script(TinyC3D(softmax=False), tmp_path / "logits.pt"))
    with pytest.raises(UserError, match=r"not probabilities: 12 values from .* sums to .*; set logits=True"):
        given(given.prepare(one)[None])
    given = TorchScriptClassifier(script(TinyC3D(softmax=True), tmp_path / "probabilities.pt"), logits=True)
    with pytest.raises(UserError, match=r"not logits: 12 values .* the first row sums to 1; set logits=False"):
        given(given.prepare(one)[None])


def test_outputs_that_are_not_rows_are_refused(tmp_path: Path) -> None:
    class Maps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float().mean(dim=[4])

    extractor = TorchScriptClassifier(script(Maps(), tmp_path / "maps.pt"))
    with pytest.raises(UserError, match=r"one row per clip, \(N, d\), got \(1, 3, 10, 14\)"):
        extractor(extractor.prepare(clip())[None])


def test_inception_sees_frames_scaled_as_clean_fid_scales_them(tmp_path: Path) -> None:
    path = script(TinyInception(), tmp_path / "inception-2015-12-05.pt")
    resize = resizer("clean-bicubic", 299)
    extractor, clips = Inception(path, resize), [clip(0, frames=3), clip(1, frames=3, height=30)]
    features = extractor(torch.stack([extractor.prepare(one) for one in clips]))
    assert features.shape == (2, 3, 2048) and features.dtype == torch.float32
    for rows, one in zip(features, clips, strict=True):
        torch.testing.assert_close(rows, TinyLayers()((resize(one.pixels) - 128) / 128))
    assert features.min() < -0.3 and features.max() > 0.3 and features.abs().max() <= 1


def test_inception_takes_many_frames_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.extractors.inception._IMAGES", 3)
    extractor = Inception(script(TinyInception(), tmp_path / "inception-2015-12-05.pt"), resizer("tf1-bilinear", 299))
    prepared, seen = extractor.prepare(clip(frames=5)), list[int]()
    extractor.network.register_forward_pre_hook(lambda network, inputs: seen.append(len(inputs[0])))
    found = extractor(prepared[None])
    assert seen == [3, 2]
    torch.testing.assert_close(found[0, 3:], extractor(prepared[None, 3:])[0])


def test_inception_refuses_other_files_and_sizes_and_downloads_nothing(tmp_path: Path) -> None:
    resize = resizer("clean-bicubic", 299)
    with pytest.raises(UserError, match="needs the name `inception-2015-12-05.pt`; rename the file"):
        Inception(script(TinyInception(), tmp_path / "inception.pt"), resize)
    named = tmp_path / "inception-2015-12-05.pt"
    with pytest.raises(UserError, match="no such file; nothing is downloaded"):
        Inception(named, resize)
    assert not named.exists()
    with pytest.raises(UserError, match="this network has no `layers`"):
        Inception(script(TinyC3D(softmax=True), named), resize)
    named.unlink()
    named.symlink_to(tmp_path / "inception.pt")
    with pytest.raises(UserError, match="Inception takes 299 x 299 pixels, got 64 x 64; set `size: 299`"):
        Inception(named, resizer("clean-bicubic", 64)).prepare(clip())


def test_networks_are_frozen(tmp_path: Path, i3d: Path) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(30, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.float().mean(dim=[3, 4]).flatten(1)).softmax(dim=1)

    extractor = TorchScriptClassifier(script(Layer(), tmp_path / "layer.pt"))
    assert not any(weight.requires_grad for weight in extractor.parameters())
    assert not extractor(extractor.prepare(clip())[None]).requires_grad
