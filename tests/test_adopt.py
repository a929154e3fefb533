"""Starting from an image network that others trained."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from mav_lightning.adopt import AdoptNetwork
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import untracked
from mav_lightning.config import instantiate, load_config
from mav_lightning.networks.stored import load_network

NODE = load_config("stage/adopt_spatial_tiny.yaml")["task"]["network"]
NAMES = {"^unet/": "net.", "stem": "conv_in.spatial"}


def theirs(folder: Path, **changes: torch.Tensor | None) -> tuple[Path, str]:
    """Random weights of the network under somebody else's names, and their sha256."""
    torch.manual_seed(0)
    weights: dict[str, torch.Tensor] = {}
    for name, value in instantiate(NODE).state_dict().items():
        other = name.replace("net.", "unet/", 1).replace("conv_in.spatial", "stem")
        weights[other] = torch.randn_like(value)
    for name, value in changes.items():
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    save_file(weights, folder / "theirs.safetensors")
    return folder / "theirs.safetensors", hashlib.sha256((folder / "theirs.safetensors").read_bytes()).hexdigest()


def test_others_weights_become_a_stage_that_loads_like_ours(tmp_path: Path) -> None:
    file, sha256 = theirs(tmp_path)
    words = [f"task.source={file}", f"task.source_sha256={sha256}", f"task.names={NAMES}"]
    done = CliRunner().invoke(app, ["train", "stage/adopt_spatial_tiny.yaml", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    torch.manual_seed(0)
    expected = {name: torch.randn_like(value) for name, value in instantiate(NODE).state_dict().items()}
    found = load_network(tmp_path / "out").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_weights_that_fit_in_part_are_refused_with_the_first_of_each_kind(tmp_path: Path) -> None:
    file, sha256 = theirs(tmp_path, **{"ema": torch.ones(1), "unet/stem.bias": torch.zeros(3)})
    message = (
        r"does not fit the network: 1 unexpected, first `ema`; 1 of another shape, first `net.conv_in.spatial.bias`"
    )
    with pytest.raises(UserError, match=message):
        AdoptNetwork(instantiate(NODE), file, sha256, NAMES).run(tmp_path / "out", seed=None, track=untracked)
    assert not (tmp_path / "out").exists()


def test_weights_of_less_precision_become_those_of_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    half = {name: torch.randn_like(value).half() for name, value in instantiate(NODE).state_dict().items()}
    file, sha256 = theirs(tmp_path, **{name.replace("net.", "unet/", 1).replace("conv_in.spatial", "stem"): value
                                       for name, value in half.items()})  # fmt: skip
    words = [f"task.source={file}", f"task.source_sha256={sha256}", f"task.names={NAMES}"]
    done = CliRunner().invoke(app, ["train", "stage/adopt_spatial_tiny.yaml", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = load_network(tmp_path / "out").state_dict()
    assert all(torch.equal(found[name], half[name].float()) for name in half)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weight = next(name for name, value in instantiate(NODE).state_dict().items() if value.ndim == 1)
    broken = torch.full_like(instantiate(NODE).state_dict()[weight], torch.nan)
    file, sha256 = theirs(tmp_path, **{weight.replace("net.", "unet/", 1): broken})
    with pytest.raises(UserError, match=f"does not fit the network: 1 not finite, first `{weight}`"):
        AdoptNetwork(instantiate(NODE), file, sha256, NAMES).run(tmp_path / "out", seed=None, track=untracked)


def test_names_that_fall_together_are_refused(tmp_path: Path) -> None:
    file, sha256 = theirs(tmp_path)
    with pytest.raises(UserError, match="names: two weights would be called `same`, one of them `.*`; keep"):
        AdoptNetwork(instantiate(NODE), file, sha256, {"^.*$": "same"}).run(
            tmp_path / "out", seed=None, track=untracked
        )


def test_another_file_than_was_meant_is_refused_and_named(tmp_path: Path) -> None:
    file, sha256 = theirs(tmp_path)
    with pytest.raises(UserError, match=f"have another hash than .* give source_sha256={sha256}"):
        AdoptNetwork(instantiate(NODE), file, "0" * 64).run(tmp_path / "out", seed=None, track=untracked)
    with pytest.raises(UserError, match="none.safetensors does not exist; give weights as safetensors"):
        AdoptNetwork(instantiate(NODE), tmp_path / "none.safetensors", sha256).run(
            tmp_path / "out", seed=None, track=untracked
        )
