"""FSDP2 trains what DDP trains, in shards: two processes on a CPU."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_continuation import assert_same, assert_same_run, last_of_each_batch
from toy_denoiser import MuonAndOtherWeightsPerRank, ToyDenoising, TrainsOutsideOfItsNetwork
from toy_training import ToyData, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import Card, write_card
from mav_lightning.networks.checkpoint_parts import checkpoint_files, part_path, shard_entry
from mav_lightning.networks.checkpoint_reader import read_checkpoint
from mav_lightning.training.checkpoint_io import checkpoints, newest_checkpoint, remove_leftovers
from mav_lightning.training.checkpoint_writer import nested_tensors
from mav_lightning.training.network_export import export_network
from mav_lightning.training.run_report import verify

FSDP2 = {"strategy": "fsdp2"}


@pytest.fixture(scope="module")
def sharded(launch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sharded run that nothing happened to, with clipping and accumulation."""
    out = tmp_path_factory.mktemp("sharded")
    assert launch(out, ranks=2, **arguments(FSDP2)) == 0
    return out


def arguments(strategy: dict[str, str]) -> dict[str, Any]:
    trainer = {**strategy, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    return {"trainer": trainer, "steps": 9, "build": ToyDenoising, "data": ToyData(batches=40)}


def part_of_rank_1(out: Path) -> dict[str, Any]:
    part: dict[str, Any] = torch.load(checkpoint_files(checkpoints(out / "checkpoints")[0])[1], weights_only=True)
    return part


def losses(out: Path) -> list[float]:
    return [line[-1] for rank in (0, 1) for _, line in sorted(last_of_each_batch(out, rank).items())]


def assert_close_weights(one: Path, other: Path) -> None:
    mine, yours = (load_file(out / "weights.safetensors") for out in (one, other))
    assert mine.keys() == yours.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, yours[name], rtol=1e-5, atol=1e-6)


def test_it_gives_the_losses_and_weights_of_ddp(sharded: Path, launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=2, **arguments({"strategy": "ddp"})) == 0

    assert losses(sharded) == pytest.approx(losses(tmp_path), rel=1e-5)
    assert_close_weights(sharded, tmp_path)


def test_it_gives_the_losses_and_weights_of_one_process(sharded: Path, launch: Any, tmp_path: Path) -> None:
    asked = arguments({})
    trainer = {**asked["trainer"], "accumulate_grad_batches": 4}
    assert launch(tmp_path, **{**asked, "trainer": trainer}) == 0

    alone = [2 * line[-1] for _, line in sorted(last_of_each_batch(tmp_path).items())]  # divided by 4 batches, not 2
    interleaved = alone[0::2] + alone[1::2]  # each of the two processes takes every second batch
    assert losses(sharded) == pytest.approx(interleaved, rel=1e-5)
    assert_close_weights(sharded, tmp_path)


def test_muon_and_initial_weights_are_those_of_ddp(launch: Any, tmp_path: Path) -> None:
    for strategy in ("ddp", "fsdp2"):
        asked = {"build": MuonAndOtherWeightsPerRank, "trainer": {"strategy": strategy}}
        assert launch(tmp_path / strategy, ranks=2, steps=4, **asked) == 0

    assert losses(tmp_path / "fsdp2") == pytest.approx(losses(tmp_path / "ddp"), rel=1e-5)
    assert_close_weights(tmp_path / "fsdp2", tmp_path / "ddp")


def test_bfloat16_is_that_of_ddp_to_its_rounding(launch: Any, tmp_path: Path) -> None:
    for strategy in ("ddp", "fsdp2"):
        trainer = {"strategy": strategy, "precision": "bf16-mixed"}
        assert launch(tmp_path / strategy, ranks=2, steps=4, build=ToyDenoising, trainer=trainer) == 0

    assert losses(tmp_path / "fsdp2") == pytest.approx(losses(tmp_path / "ddp"), rel=2**-8)
    assert all(value.dtype != torch.bfloat16 for value in load_file(tmp_path / "fsdp2/weights.safetensors").values())


def test_it_resumes_to_the_same_bits(sharded: Path, launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=2, **arguments(FSDP2), fault="kill-in-step", at=5, rank=1) == 1
    assert launch(tmp_path, ranks=2, **arguments(FSDP2), fault="term-in-step", at=6, rank=1) == 143
    assert launch(tmp_path, ranks=2, **arguments(FSDP2), fault="kill-after-step", at=8) == -9
    assert launch(tmp_path, ranks=2, **arguments(FSDP2)) == 0

    assert_same_run(tmp_path, sharded)
    assert last_of_each_batch(tmp_path, rank=1) == last_of_each_batch(sharded, rank=1)
    mine, yours = (part_of_rank_1(out) for out in (tmp_path, sharded))
    assert_same(mine["optimizer_states"], yours["optimizer_states"])
    assert_same(mine["callbacks"]["EMA"], yours["callbacks"]["EMA"])


def test_a_checkpoint_killed_in_writing_is_not_used(sharded: Path, launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=2, **arguments(FSDP2), fault="save-half", at=8, rank=1) != 0
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004-00001-of-00002.ckpt"]
    assert launch(tmp_path, ranks=2, **arguments(FSDP2)) == 0

    assert_same_run(tmp_path, sharded)


def test_each_process_saves_its_shards_and_the_parts_join_to_the_checkpoint_of_ddp(sharded: Path) -> None:
    newest = checkpoints(sharded / "checkpoints")[0]
    parts = [torch.load(part, weights_only=True) for part in checkpoint_files(newest)]
    whole = read_checkpoint(newest)

    name, shape = "denoiser.net.blocks.0.layers.0.weight", (7, 6)
    assert [[tensor.shape for tensor in nested_tensors(part["state_dict"][name])] for part in parts] == [
        [(4, 6)],
        [(3, 6)],
    ]
    assert whole["state_dict"][name].shape == whole["callbacks"]["EMA"]["average"][name].shape == shape
    assert whole["optimizer_states"][0]["state"][0]["exp_avg"].shape == (7, 6)


def test_the_network_is_exported_from_the_parts(sharded: Path, tmp_path: Path) -> None:
    shutil.copytree(sharded / "checkpoints", tmp_path / "run" / "checkpoints")
    write_card(tmp_path / "run", Card.of({"_target_": "mav_lightning.nn.small_clip.SmallCLIP"}, {}))

    assert export_network(tmp_path / "run", tmp_path / "out") == 9

    exported, result = (load_file(out / "weights.safetensors") for out in (tmp_path / "out", sharded))
    assert exported.keys() == result.keys() == ToyDenoising().denoiser.state_dict().keys()
    assert all(torch.equal(exported[name], result[name]) for name in result)


def test_a_checkpoint_with_a_damaged_or_missing_part_is_not_used(sharded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(sharded / "checkpoints", folder)
    newest, before = checkpoints(folder)
    checkpoint_files(newest)[1].write_bytes(b"damaged")
    assert [check.problem for check in verify(newest)] == ["does not match its checksum, or has none"]

    with pytest.warns(UserWarning, match="does not match its checksum: set aside"):
        assert newest_checkpoint(folder) == before
    assert all(file.with_name(f"{file.name}.corrupt").exists() for file in checkpoint_files(newest))

    checkpoint_files(before)[0].unlink()
    assert checkpoints(folder) == []
    remove_leftovers(folder)
    assert [path.name for path in folder.iterdir() if path.suffix != ".corrupt"] == []


def test_parts_that_do_not_belong_together_are_one_message(tmp_path: Path) -> None:
    for rank, rows in enumerate((2, 3)):
        part = {"state_dict": {"w": shard_entry(torch.zeros(rows, 2), [4, 2])}}
        torch.save(part, part_path(tmp_path / "a.ckpt", rank, 2))

    with pytest.raises(UserError, match="the parts of the checkpoint do not belong together"):
        read_checkpoint(part_path(tmp_path / "a.ckpt", 0, 2))


def test_two_generations_are_kept(sharded: Path) -> None:
    names = [f"step-0000000{step}-0000{part}-of-00002.ckpt" for step in (8, 9) for part in (1, 2)]

    found = sorted(path.name for path in (sharded / "checkpoints").iterdir())

    assert found == sorted([*names, *(f"{name}.sha256" for name in names)])


def test_another_strategy_is_another_run(sharded: Path) -> None:
    with pytest.raises(UserError, match="belongs to another run: `trainer.ranks` is 2 there and 1 here"):
        run(sharded, module=ToyDenoising(), steps=9)
    assert json.loads((sharded / "run.json").read_text())["run"]["trainer"]["strategy"] == "fsdp2"


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (ToyModule, {}, "strategy=fsdp2: shards the network of a denoiser, and ToyModule trains none; use ddp"),
        (TrainsOutsideOfItsNetwork, {}, "fsdp2: shards the denoiser, and `scale` is trained outside of it; use ddp"),
        (ToyDenoising, {"trainer": {"fast_dev_run": True}, "compile": True}, "compile: is not supported with .*fsdp2"),
    ],
)
def test_what_cannot_be_sharded_is_rejected(build: Any, options: Any, message: str, tmp_path: Path) -> None:
    trainer = {**FSDP2, **options.get("trainer", {})}
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", module=build(), **{**options, "trainer": trainer})

    assert not (tmp_path / "run").exists()
