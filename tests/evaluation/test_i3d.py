"""The native I3D against the paper's table written out with functions alone, in float64."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from evaluation.clip_sources import Clip
from evaluation.extractors.i3d import I3D, I3DNetwork, state_dict_of
from mav_lightning.common.errors import UserError

# name, inputs, outputs, kernel, stride of the stem's convolutions
STEM = [("Conv3d_1a_7x7", 3, 64, 7, 2), ("Conv3d_2b_1x1", 64, 64, 1, 1), ("Conv3d_2c_3x3", 64, 192, 3, 1)]
# name, inputs, then the widths of 1x1, 3x3 reduction, 3x3, second reduction, second 3x3, pooling's 1x1
BLOCKS = [
    ("Mixed_3b", 192, 64, 96, 128, 16, 32, 32),
    ("Mixed_3c", 256, 128, 128, 192, 32, 96, 64),
    ("Mixed_4b", 480, 192, 96, 208, 16, 48, 64),
    ("Mixed_4c", 512, 160, 112, 224, 24, 64, 64),
    ("Mixed_4d", 512, 128, 128, 256, 24, 64, 64),
    ("Mixed_4e", 512, 112, 144, 288, 32, 64, 64),
    ("Mixed_4f", 528, 256, 160, 320, 32, 128, 128),
    ("Mixed_5b", 832, 256, 160, 320, 32, 128, 128),
    ("Mixed_5c", 832, 384, 192, 384, 48, 128, 128),
]
BRANCHES = ["b0", "b1a", "b1b", "b2a", "b2b", "b3b"]
OTHER_BRANCHES = ["branch_0", "branch_1.0", "branch_1.1", "branch_2.0", "branch_2.1", "branch_3.1"]


def units(layout: str) -> list[tuple[str, int, int, int]]:
    """Names in a layout, inputs, outputs and kernel of every convolution with batch normalisation, in order."""
    ours = layout == "pytorch-i3d"
    found = [(name if ours else name.lower(), *sizes[:3]) for name, *sizes in STEM]
    for block, inputs, one, reduce3, three, reduce5, five, pooled in BLOCKS:
        sizes = [(inputs, one, 1), (inputs, reduce3, 1), (reduce3, three, 3)]
        sizes += [(inputs, reduce5, 1), (reduce5, five, 3), (inputs, pooled, 1)]
        names = [f"{block}.{branch}" for branch in BRANCHES]
        others = [f"{block.lower()}.{branch}" for branch in OTHER_BRANCHES]
        found += [(name, *size) for name, size in zip(names if ours else others, sizes, strict=True)]
    return found


@cache
def weights(layout: str) -> dict[str, Tensor]:
    """The same random tensors under either layout's names; variances small enough for epsilon to matter."""
    if layout != "pytorch-i3d":
        theirs = {name: other for (name, *_), (other, *_) in zip(units("pytorch-i3d"), units(layout), strict=True)}
        theirs["logits"] = "conv3d_0c_1x1"
        renamed = {}
        for name, value in weights("pytorch-i3d").items():
            unit = name.rpartition(".conv3d.")[0] or name.rpartition(".bn.")[0]
            renamed[theirs[unit] + name.removeprefix(unit).replace(".bn.", ".batch3d.")] = value
        return renamed
    draw = torch.Generator().manual_seed(0)
    found = {}
    for name, inputs, outputs, kernel in units(layout):
        scale = (2 / (inputs * kernel**3)) ** 0.5
        found[f"{name}.conv3d.weight"] = scale * torch.randn(outputs, inputs, *[kernel] * 3, generator=draw)
        for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.4), ("running_mean", -0.3, 0.3)):
            found[f"{name}.bn.{part}"] = low + (high - low) * torch.rand(outputs, generator=draw)
        found[f"{name}.bn.running_var"] = 0.2 + torch.rand(outputs, generator=draw)
    found["logits.conv3d.weight"] = torch.randn(400, 1024, 1, 1, 1, generator=draw) / 32
    found["logits.conv3d.bias"] = torch.randn(400, generator=draw)
    return found


def same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float) -> Tensor:
    """TensorFlow's SAME, one axis at a time."""
    for axis, (width, step) in enumerate(zip(kernel, stride, strict=True), start=2):
        size = x.shape[axis]
        lacking = max(0, width - step if size % step == 0 else width - size % step)
        shape = list(x.shape)
        shape[axis] = lacking // 2
        front = x.new_full(shape, value)
        shape[axis] = lacking - lacking // 2
        x = torch.cat([front, x, x.new_full(shape, value)], dim=axis)
    return x


def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Padding never wins: minus infinity, as TensorFlow leaves it out."""
    return F.max_pool3d(same(x, kernel, stride, float("-inf")), kernel, stride)


def reference(x: Tensor, given: dict[str, Tensor], layout: str = "pytorch-i3d", epsilon: float = 1e-3) -> Tensor:
    """Logits (N, 400) of videos (N, 3, T, H, W) in [-1, 1], float64."""
    norm = "bn" if layout == "pytorch-i3d" else "batch3d"

    def unit(x: Tensor, name: str, kernel: int, stride: int = 1) -> Tensor:
        kernels = given[f"{name}.conv3d.weight"].double()
        x = F.conv3d(same(x, (kernel,) * 3, (stride,) * 3, 0.0), kernels, stride=stride)
        mean, variance, weight, bias = (
            given[f"{name}.{norm}.{part}"].double()[:, None, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (variance + epsilon).sqrt() * weight + bias).clamp(min=0)

    names = iter(units(layout))
    x = pool(unit(x, next(names)[0], 7, 2), (1, 3, 3), (1, 2, 2))
    x = unit(x, next(names)[0], 1)
    x = pool(unit(x, next(names)[0], 3), (1, 3, 3), (1, 2, 2))
    for block, *_ in BLOCKS:
        x = pool(x, (3, 3, 3), (2, 2, 2)) if block == "Mixed_4b" else x
        x = pool(x, (2, 2, 2), (2, 2, 2)) if block == "Mixed_5b" else x
        one, reduce3, three, reduce5, five, pooled = (next(names)[0] for _ in BRANCHES)
        branches = [unit(x, one, 1), unit(unit(x, reduce3, 1), three, 3), unit(unit(x, reduce5, 1), five, 3)]
        x = torch.cat([*branches, unit(pool(x, (3, 3, 3), (1, 1, 1)), pooled, 1)], dim=1)
    space = x.mean(dim=(3, 4))
    steps = (space[:, :, 1:] + space[:, :, :-1]) / 2
    head = "logits" if layout == "pytorch-i3d" else "conv3d_0c_1x1"
    weight, bias = given[f"{head}.conv3d.weight"].flatten(1).double(), given[f"{head}.conv3d.bias"].double()
    return torch.stack([step @ weight.T + bias for step in steps.unbind(2)]).mean(dim=0)


def videos(frames: int, height: int = 32, width: int = 32, count: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(frames)
    return torch.rand(count, 3, frames, height, width, generator=draw, dtype=torch.float64) * 2 - 1


def loaded(layout: str = "pytorch-i3d", epsilon: float = 1e-3) -> I3DNetwork:
    with torch.device("meta"):
        network = I3DNetwork(epsilon)
    given = {name: value.double() for name, value in state_dict_of(weights(layout)).items()}
    network.load_state_dict(given, assign=True)
    return network.eval()


def as_they_are(frames: np.ndarray) -> Tensor:
    return torch.tensor(frames).movedim(-1, 1).float()


@pytest.mark.parametrize("layout", ["pytorch-i3d", "kinetics_i3d_pytorch"])
@pytest.mark.parametrize(("frames", "height", "width"), [(16, 32, 32), (9, 32, 32), (11, 33, 58)])
@torch.inference_mode()
def test_logits_are_those_of_the_paper_s_network(layout: str, frames: int, height: int, width: int) -> None:
    x, given = videos(frames, height, width), weights(layout)

    found = loaded(layout)(x)

    assert found.shape == (1, 400)
    wanted = reference(x, given, layout)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert wanted.std() > 0.1


@torch.inference_mode()
def test_both_layouts_are_one_network() -> None:
    ours, theirs = (state_dict_of(weights(layout)) for layout in ("pytorch-i3d", "kinetics_i3d_pytorch"))

    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@torch.inference_mode()
def test_epsilon_of_batch_normalisation_is_a_choice_that_moves_the_logits() -> None:
    x, given = videos(9), weights("pytorch-i3d")

    found = loaded(epsilon=1e-5)(x)

    torch.testing.assert_close(found, reference(x, given, epsilon=1e-5), rtol=1e-9, atol=1e-9)
    assert (found - loaded()(x)).abs().max() > 1e-3


@torch.inference_mode()
def test_at_224_pixels_the_last_pooling_is_seven_by_seven() -> None:
    network, seen = loaded().float(), []
    network.average.register_forward_hook(lambda layer, inputs, output: seen.append((inputs[0], output)))

    network(videos(16, 224, 224).float())

    assert seen[0][0].shape == (1, 1024, 2, 7, 7)
    torch.testing.assert_close(seen[0][1], F.avg_pool3d(seen[0][0], (2, 7, 7), stride=1))


@torch.inference_mode()
def test_the_extractor_scales_and_gives_one_row_a_clip(tmp_path: Path) -> None:
    torch.save(weights("kinetics_i3d_pytorch"), tmp_path / "rgb.pth")
    extractor = I3D.from_file(tmp_path / "rgb.pth", as_they_are)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3)).astype(np.uint8)
    clips = [Clip(str(number), each, 8.0, None, {}, "") for number, each in enumerate(pixels)]

    prepared = torch.stack([extractor.prepare(clip) for clip in clips])
    found = extractor(prepared)

    x = torch.tensor(pixels).movedim(-1, 1).double() / 127.5 - 1
    assert prepared.shape == (2, 9, 3, 32, 32)
    assert (found.shape, found.dtype) == ((2, 1, 400), torch.float32)
    wanted = reference(x, weights("pytorch-i3d"))
    torch.testing.assert_close(found[:, 0].double(), wanted, rtol=1e-3, atol=1e-3)  # float32, sums over 10⁵ terms
    assert not any(weight.requires_grad for weight in extractor.parameters())
    assert not any(module.training for module in extractor.network.modules())


@pytest.mark.parametrize("format", ["safetensors", "torch", "torch before 1.6"])
def test_every_format_holds_the_same_network(tmp_path: Path, format: str) -> None:
    given = weights("pytorch-i3d")
    path = tmp_path / ("rgb.safetensors" if format == "safetensors" else "rgb.pt")
    if format == "safetensors":
        save_file(given, path)
    else:
        torch.save(given, path, _use_new_zipfile_serialization=format == "torch")

    found = I3D.from_file(path, as_they_are).network.state_dict()

    assert all(torch.equal(found[key], value) for key, value in given.items())


def test_counters_of_batches_are_dropped() -> None:
    counters = {f"{name}.bn.num_batches_tracked": torch.tensor(7) for name, *_ in units("pytorch-i3d")}

    found = state_dict_of(weights("pytorch-i3d") | counters)

    assert found.keys() == weights("pytorch-i3d").keys()


Weights = dict[str, Tensor]


def changed(layout: str, change: Callable[[Weights], object]) -> Callable[[], Weights]:
    def make() -> Weights:
        given = dict(weights(layout))
        change(given)
        return given

    return make


MISFITS = {
    "a missing weight": (
        changed("pytorch-i3d", lambda given: given.pop("Mixed_4d.b2b.bn.running_mean")),
        r"not an RGB I3D of 400 classes: 1 missing, first `Mixed_4d\.b2b\.bn\.running_mean`; download",
    ),
    "a missing weight by its name in the file": (
        changed("kinetics_i3d_pytorch", lambda given: given.pop("mixed_4d.branch_2.1.batch3d.running_mean")),
        r"1 missing, first `mixed_4d\.branch_2\.1\.batch3d\.running_mean`; download",
    ),
    "an unknown weight": (
        changed("pytorch-i3d", lambda given: given.update({"Mixed_6a.b0.conv3d.weight": torch.zeros(1)})),
        r"1 unknown, first `Mixed_6a\.b0\.conv3d\.weight`; download",
    ),
    "600 classes": (
        changed(
            "pytorch-i3d",
            lambda given: given.update({
                "logits.conv3d.weight": torch.zeros(600, 1024, 1, 1, 1), "logits.conv3d.bias": torch.zeros(600),
            }),
        ),
        r"2 wrongly shaped, first `logits\.conv3d\.bias` of shape \(600,\) instead of \(400,\); download",
    ),
    "optical flow": (
        changed(
            "kinetics_i3d_pytorch",
            lambda given: given.update({"conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 2, 7, 7, 7)}),
        ),
        r"first `conv3d_1a_7x7\.conv3d\.weight` of shape \(64, 2, 7, 7, 7\) instead of \(64, 3, 7, 7, 7\)",
    ),
    "two mistakes at once": (
        changed("pytorch-i3d", lambda given: given.update({"fc.weight": given.pop("logits.conv3d.bias")})),
        r"1 missing, first `logits\.conv3d\.bias`; 1 unknown, first `fc\.weight`; download",
    ),
    "another network": (
        lambda: {"fc.weight": torch.zeros(1)},
        r"not an I3D: none of its weights is among `fc\.weight`; give rgb_",
    ),
    "nothing": (dict, r"not an I3D: none of its weights is among nothing; give rgb_imagenet\.pt"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), MISFITS.values(), ids=list(MISFITS))
def test_a_state_dict_that_does_not_fit_is_told_by_name(given: Callable[[], Weights], message: str) -> None:
    with pytest.raises(UserError, match=message):
        state_dict_of(given())


def test_files_that_hold_no_state_dict_are_told(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    (tmp_path / "text.pt").write_text("not weights\n")
    (tmp_path / "text.safetensors").write_text("not weights\n")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    wanted = {
        "none.pt": "no such file; `mav weights list` shows",
        "list.pt": "not a state dict but a list; provide one of names and tensors",
        "checkpoint.pt": "not a state dict but a dict; provide one of names and tensors",
        "module.pt": "not a file of tensors only",
        "text.pt": "not a file of tensors only",
        "text.safetensors": "not a file of tensors only",
        "script.pt": "not a file of tensors only .*; provide a state dict, not TorchScript",
    }

    for name, message in wanted.items():
        with pytest.raises(UserError, match=rf"{name}: {message}"):
            I3D.from_file(tmp_path / name, as_they_are)


def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pt")

    with pytest.raises(UserError, match="not a file of tensors only"):
        I3D.from_file(tmp_path / "hostile.pt", as_they_are)

    assert not (tmp_path / "ran").exists()


def test_eight_frames_are_too_few() -> None:
    with pytest.raises(UserError, match=r"^I3D needs at least 9 frames, got 8; take 16, as FVD does\.$"):
        I3DNetwork().eval()(videos(8).float())
    short = Clip("a.mp4", np.zeros((8, 32, 32, 3), np.uint8), 8.0, None, {}, "")
    with pytest.raises(UserError, match=r"^clip `a\.mp4`: I3D needs at least 9 frames, got 8"):
        I3D(I3DNetwork(), as_they_are).prepare(short)
