"""Cached embeddings: each sample's own, and none that were made for something else."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from datamodules.datamodule import ClipData, ImageData
from datamodules.embedding_cache import FRAMES, read_embeddings, write_embeddings
from datamodules.fps_sampler import UniformFps
from datamodules.index import build_index, load_index
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.networks.card import Card, network_id
from mav_lightning.networks.stored import write_network
from mav_lightning.nn.small_clip import SmallCLIP


def embed(pixels: Tensor) -> Tensor:
    """Mean colour and one: tells pictures apart, and brightness by its angle."""
    return torch.nn.functional.normalize(torch.cat([pixels.mean(dim=(2, 3)), pixels.new_ones(len(pixels), 1)], 1))


def image_data(root: Path, **options: object) -> ImageData:
    return ImageData(root, size=16, batch_size=5, embeddings="e1", **options)  # type: ignore[arg-type]


def test_every_image_comes_with_its_own_embedding_in_training_and_validation(shapes: Path) -> None:
    write_embeddings(shapes, embed, "e1", size=16)
    data = image_data(shapes)
    for batch in [*data.train_dataloader(), *data.val_dataloader()]:
        assert batch.embedding is not None
        torch.testing.assert_close(batch.embedding, embed(batch.pixels))


def test_a_clip_has_the_mean_of_its_frames_whatever_is_cut_from_it(clip_folder: Path) -> None:
    write_embeddings(clip_folder, embed, "e1", size=16)
    data = ClipData(clip_folder.parent, 16, 5, UniformFps(4, 16), batch_size=3, embeddings="e1")
    index = load_index(clip_folder)
    known = {sample.key: row for (_, sample), row in zip(index, read_embeddings(index, "e1").rows, strict=True)}
    for batch in data.train_dataloader():
        assert batch.embedding is not None
        torch.testing.assert_close(batch.embedding, torch.from_numpy(np.stack([known[key] for key in batch.key])))
    levels = np.linspace(0, 29, FRAMES).round() * 4  # of the 30 frames of `0-0`
    mean = sum(embed(torch.full((1, 3, 16, 16), level / 127.5 - 1)) for level in levels) / FRAMES
    torch.testing.assert_close(torch.from_numpy(known["0-0"])[None], mean / mean.norm(), atol=0.01, rtol=0)


def test_embeddings_are_kept_until_the_shards_change(clip_folder: Path) -> None:
    calls = []

    def counted(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        return embed(pixels)

    write_embeddings(clip_folder, counted, "e1", size=16)
    write_embeddings(clip_folder, counted, "e1", size=16)
    assert sum(calls) == 12 * FRAMES
    (clip_folder / "00001.tar").unlink()
    index = build_index(clip_folder)
    with pytest.raises(UserError, match="made for other shards; run `mav data embed"):
        read_embeddings(index, "e1")
    write_embeddings(clip_folder, counted, "e1", size=16)
    assert read_embeddings(index, "e1").present.tolist() == [True] * 6


def test_another_encoders_embeddings_are_not_taken(shapes: Path) -> None:
    write_embeddings(shapes / "images", embed, "e1", size=16)
    with pytest.raises(
        UserError, match=r"embeddings-e2\.safetensors: no such .*\(found those of other encoders: e1\); run `mav"
    ):
        ImageData(shapes, size=16, batch_size=5, embeddings="e2").setup("fit")


def test_a_flipped_bit_of_an_embedding_is_found(clip_folder: Path) -> None:
    write_embeddings(clip_folder, embed, "e1", size=16)
    file = clip_folder / "embeddings-e1.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"embeddings-e1.safetensors: damaged .*remove it and run `mav"):
        read_embeddings(load_index(clip_folder), "e1")


def test_a_sample_that_cannot_be_decoded_is_named_and_never_read(
    clip_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard, sample = next(iter(load_index(clip_folder)))
    data = bytearray((clip_folder / shard.name).read_bytes())
    data[sample.members["mp4"].offset] ^= 255
    (clip_folder / shard.name).write_bytes(data)
    (bad,) = write_embeddings(clip_folder, embed, "e1", size=16).values()
    assert list(bad) == ["00000.tar:0-0"] and "has changed since it was indexed" in bad["00000.tar:0-0"]
    with caplog.at_level(logging.WARNING):
        read = ClipData(clip_folder.parent, 16, 5, UniformFps(4, 16), batch_size=3, embeddings="e1")
        assert "0-0" not in {key for batch in read.train_dataloader() for key in batch.key}
    assert "00000.tar:0-0: could not be embedded" in caplog.text


def test_a_stream_has_no_place_for_embeddings(shapes: Path) -> None:
    with pytest.raises(UserError, match="embeddings: are stored for indexed shards only; use reader=indexed or None"):
        image_data(shapes, reader="streaming")


def test_the_command_names_embeddings_after_the_encoder_and_says_how_to_use_them(shapes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = SmallCLIP(size=8, channels=8, width=8)
    node = {"_target_": "mav_lightning.nn.small_clip.SmallCLIP", "size": 8, "channels": 8, "width": 8}
    write_network(tmp_path, encoder.state_dict(), Card.of(node))
    done = CliRunner().invoke(app, ["data", "embed", str(shapes / "images"), "--clip", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert f"Train with data.embeddings={network_id(tmp_path)}" in done.output
    (batch, *_) = ImageData(shapes, 8, batch_size=5, embeddings=network_id(tmp_path)).val_dataloader()
    assert batch.embedding is not None
    torch.testing.assert_close(batch.embedding, encoder.eval().encode_image(batch.pixels).detach())
