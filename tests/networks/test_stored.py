"""A folder that somebody shared builds networks of a closed catalogue, with verified weights, and nothing else."""

import json
import os
import pkgutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mav_lightning.cascade.pipeline_file import READY_MADE
from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import CARD, WEIGHTS, Card, network_id, read_card, write_card
from mav_lightning.networks.catalogue import CATALOGUE, build_network, describe_network
from mav_lightning.networks.stored import copy_network, load_network, write_network

NODE = {
    "_target_": "mav_lightning.diffusion.denoiser.EDMDenoiser",
    "net": {
        "_target_": "mav_lightning.nn.unet.SpaceTimeUNet", "channels": 8, "multipliers": [1, 2], "attention": [1],
        "head_channels": 8, "cond_channels": 4,
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = build_network(describe_network(NODE), "network")
    write_network(tmp_path / "net", network.state_dict(), Card.of(NODE, {"name": "decoder", "fps": [4.0, 16.0]}))
    return tmp_path / "net"


def test_a_network_comes_back_with_its_weights_in_evaluation_mode(folder: Path) -> None:
    network = load_network(folder)
    stored = load_file(folder / WEIGHTS)
    assert not network.training
    assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())
    assert read_card(folder).trained.fps == (4.0, 16.0)


def test_loading_moves_no_other_random_draw(folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_network(folder)
    assert torch.equal(torch.rand(2), expected)


def test_a_copy_has_the_same_id_and_another_network_another(folder: Path, tmp_path: Path) -> None:
    copy_network(folder, tmp_path / "copy")
    assert network_id(tmp_path / "copy") == network_id(folder)
    weights = load_file(folder / WEIGHTS)
    weights[next(iter(weights))] += 1
    write_network(tmp_path / "copy", weights)
    assert network_id(tmp_path / "copy") != network_id(folder)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_catalogue_holds_networks_and_nothing_else(name: str) -> None:
    pytest.importorskip("diffusers") if name == "DiffusersUNet" else None
    assert issubclass(pkgutil.resolve_name(CATALOGUE[name]), nn.Module)


HOSTILE: list[tuple[Any, str]] = [
    ({"class": "mav_lightning.runs.job.Job", "command": ["sh", "-c", "touch PWNED"]}, "is not in this project|allowed"),
    ({"class": "os.system", "command": "touch PWNED"}, "allow"),
    ({"class": "builtins.eval", "source": "open('PWNED', 'w')"}, "allow"),
    ({"class": "pathlib.Path", "args": "."}, "allow"),
    ({"class": "SpaceTimeUnet"}, r"Did you mean `SpaceTimeUNet`\?"),
    ({"class": ["EDMDenoiser"]}, "must be the name of a network"),
    ({"class": "EDMDenoiser"}, "net: is missing"),
    ({"class": "EDMDenoiser", "net": None}, "must be a node with `class`"),
    ({"class": "EDMDenoiser", "net": {"_target_": "os.system"}}, "must be a node with `class`"),
    ({"class": "EDMDenoiser", "net": {"class": "SpaceTimeUNet", "channels": "16"}}, "channels: must be a whole number"),
    (
        {"class": "EDMDenoiser", "net": {"class": "SpaceTimeUNet", "channels": 10**9}},
        "must be between -1048576 and 1048576",
    ),
    ({"class": "EDMDenoiser", "net": {"class": "SpaceTimeUNet", "multipliers": [1] * 1000}}, "has 1000 items"),
    ({"class": "EDMDenoiser", "net": {"class": "SpaceTimeUNet", "channels": 7}}, "must be a multiple of 8"),
    ({"class": "EDMDenoiser", "sigma_data": float("nan"), "net": {"class": "SpaceTimeUNet"}}, "finite number"),
    ({"class": "EDMDenoiser", "net": {"class": "SpaceTimeUNet"}, "command": "x"}, "no argument `command`"),
    ({"no": "class"}, "must be a node with `class`"),
    ([], "must be a mapping"),
    (None, "must be a mapping"),
]


@pytest.mark.parametrize(("description", "message"), HOSTILE)
def test_a_hostile_description_is_one_message(
    folder: Path, description: Any, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.loads((folder / CARD).read_text()) | {"network": description}
    (folder / CARD).write_text(json.dumps(content))
    modules, before = set(sys.modules), sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=message):
        load_network(folder)
    assert not {name for name in set(sys.modules) - modules if not name.startswith(("mav_lightning", "torch", "sympy"))}
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"format": 2}', '{"net":' + "[" * 100_000 + "]" * 100_000 + "}", '{"format": "2"}'],
)
def test_an_unreadable_card_is_one_message_naming_the_file(folder: Path, content: str) -> None:
    (folder / CARD).write_text(content)
    with pytest.raises(UserError, match=CARD):
        load_network(folder)


def test_a_folder_of_an_earlier_version_is_rejected_with_the_command_that_converts_it(folder: Path) -> None:
    (folder / CARD).write_text(json.dumps({"net": NODE, "trained": {}}))
    with pytest.raises(UserError, match=r"written by an earlier version; `mav convert .* --out NEW`"):
        load_network(folder)


def test_weights_other_than_those_recorded_are_rejected(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(UserError, match="is damaged or another network's"):
        load_network(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_rejected_by_name(folder: Path, value: float) -> None:
    weights = load_file(folder / WEIGHTS)
    name = sorted(weights)[3]
    weights[name].view(-1)[0] = value
    write_network(folder, weights)
    with pytest.raises(UserError, match=f"weight `{name}` is not finite"):
        load_network(folder)


def test_weights_of_another_type_or_name_are_rejected(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = sorted(weights)[3]
    write_network(folder, {**weights, name: weights[name].half()})
    with pytest.raises(UserError, match=f"1 differ in name, shape or type, first `{name}`"):
        load_network(folder)
    write_network(folder, {**weights, "more": torch.zeros(1)})
    with pytest.raises(UserError, match="first `more`"):
        load_network(folder)


def test_a_file_that_is_no_safetensors_is_one_message(folder: Path) -> None:
    from dataclasses import replace

    from mav_lightning.common.hashing import file_sha256

    (folder / WEIGHTS).write_bytes(b"x" * 100)
    write_card(folder, replace(read_card(folder), weights_sha256=file_sha256(folder / WEIGHTS)))
    with pytest.raises(UserError, match=f"{WEIGHTS} cannot be read"):
        load_network(folder)


def test_an_unfinished_training_is_not_loaded(folder: Path) -> None:
    write_card(folder, Card.of(NODE))
    with pytest.raises(UserError, match="the training is not finished; `mav checkpoint export`"):
        load_network(folder)


def test_what_no_catalogue_knows_cannot_be_stored() -> None:
    with pytest.raises(UserError, match="`torch.nn.Linear` cannot be stored"):
        describe_network({"_target_": "torch.nn.Linear"})


def test_a_class_of_an_allowed_package_is_stored_by_its_dotted_name_and_needs_the_permission_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mav_lightning.common import allowed

    (tmp_path / "herlab_nets.py").write_text(
        "from torch import nn\n\nclass Tiny(nn.Module):\n    def __init__(self, width: int = 2) -> None:\n"
        "        super().__init__()\n        self.layer = nn.Linear(width, width)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(allowed, "_allowed", {})
    allowed.allow(["herlab_nets"])
    node = {"_target_": "herlab_nets.Tiny", "width": 3}
    network = build_network(describe_network(node), "network")
    write_network(tmp_path / "net", network.state_dict(), Card.of(node))
    assert type(load_network(tmp_path / "net")).__name__ == "Tiny"
    monkeypatch.setattr(allowed, "_allowed", {})
    with pytest.raises(UserError, match="add --allow herlab_nets"):
        load_network(tmp_path / "net")


@pytest.mark.parametrize("role", ["clip", "prior", "decoder", "interpolator", "sr_low", "sr_high"])
def test_the_shipped_networks_verify(role: str) -> None:
    assert load_network(READY_MADE / role)
    assert asdict(read_card(READY_MADE / role))["format"] == 2
