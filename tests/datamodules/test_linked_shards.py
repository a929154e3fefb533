"""Shards where nothing can be written: an index elsewhere, next to links."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datamodules.datamodule import ClipData
from datamodules.fps_sampler import UniformFps
from datamodules.index import INDEX, build_index, folder_sha256, load_index
from datamodules.linked_shards import link_shards
from datamodules.lint import lint
from mav_lightning.cli.data import app
from mav_lightning.common.errors import UserError


@pytest.fixture
def read_only(clip_folder: Path, tmp_path: Path) -> Path:
    """A dataset `share` with `clips/train` and `clips/val`, without indexes."""
    share = tmp_path / "share"
    (share / "clips").mkdir(parents=True)
    for split in ("train", "val"):
        (share / "clips" / split).mkdir()
        for shard in sorted(clip_folder.glob("*.tar")):
            os.link(shard, share / "clips" / split / shard.name)
    return share


def test_a_folder_of_links_is_used_in_place_of_the_dataset(read_only: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["index", str(read_only), "--index", str(tmp_path / "mine")])

    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/mine/clips/train: 12 samples, 0 bad" in result.output.replace("\n", "")
    assert not list(read_only.rglob(INDEX))
    data = ClipData(tmp_path / "mine", 8, 5, UniformFps(4, 16), batch_size=4)
    data.setup("fit")
    assert len(next(iter(data.train_dataloader()))) == 4
    assert not any(report.problems for report in lint(tmp_path / "mine"))
    for split in ("train", "val"):
        build_index(read_only / "clips" / split)
    assert folder_sha256(tmp_path / "mine") == folder_sha256(read_only)


def test_indexing_again_follows_the_shards(read_only: Path, tmp_path: Path) -> None:
    (place, _) = link_shards(read_only, tmp_path / "mine")
    build_index(place)
    (read_only / "clips" / "train" / "00000.tar").unlink()
    os.link(read_only / "clips" / "val" / "00000.tar", read_only / "clips" / "train" / "00009.tar")

    with pytest.raises(UserError, match=r"holds 1 link to missing shards, such as 00000\.tar; restore"):
        load_index(place)
    link_shards(read_only, tmp_path / "mine")
    assert [shard.name for shard in build_index(place).shards] == ["00001.tar", "00009.tar"]


def test_places_that_would_mix_data_are_refused(read_only: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="index: .* is inside of the dataset; choose a folder outside of"):
        link_shards(read_only, read_only / "mine")
    (tmp_path / "other" / "clips" / "train").mkdir(parents=True)
    (tmp_path / "other" / "clips" / "train" / "x.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"index: .*x\.tar: is not a link; choose an empty folder"):
        link_shards(read_only, tmp_path / "other")


PLACES = (
    "share", "share/", "share/new", "share/clips", "share/clips/train", "share/clips/train/new", "share/../share/new",
    "share/./clips", "link", "link/new", "link/clips/val", "a.tar",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_spelling_of_the_dataset_itself_takes_its_index(place: str, read_only: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(read_only)
    (tmp_path / "a.tar").write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(UserError, match=r"index: .*(inside of the dataset|is not a folder).*; choose"):
        link_shards(read_only, Path(f"{tmp_path}/{place}"))

    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_takes_no_files_is_one_message_with_the_way_out(
    read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    result = CliRunner().invoke(app, ["index", str(read_only)])

    assert isinstance(result.exception, UserError)
    assert "does not take files (Read-only file system)" in str(result.exception)
    assert f"run `mav data index {read_only}/clips/train --index DIR`" in str(result.exception)
