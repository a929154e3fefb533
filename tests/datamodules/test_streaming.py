from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from datamodules.batch import ImageBatch
from datamodules.datamodule import ImageData
from datamodules.decoders import ImageDecoder
from datamodules.shard_urls import shard_urls
from datamodules.streaming import StreamingLoader
from mav_lightning.common.errors import UserError

MakeShard = Callable[..., Path]


def stream(*paths: Path, **options: int) -> StreamingLoader[ImageBatch]:
    return StreamingLoader([str(path) for path in paths], ImageDecoder(4), **{"batch_size": 2, "seed": 0, **options})


def captions(loader: StreamingLoader[ImageBatch], batches: int) -> set[tuple[str, str]]:
    return {pair for batch in islice(loader, batches) for pair in zip(batch.key, batch.caption, strict=True)}


def pairs(png: bytes, *keys: str, word: str = "") -> list[tuple[str, bytes]]:
    return [member for key in keys for member in ((f"{key}.png", png), (f"{key}.txt", f"{word}{key}".encode()))]


def test_the_same_seed_streams_the_same_batches(shapes: Path) -> None:
    def batches(seed: int, workers: int) -> list[ImageBatch]:
        urls = shard_urls(shapes / "images" / "train")
        return list(islice(StreamingLoader(urls, ImageDecoder(4), 4, seed, workers=workers, shuffle=8), 6))

    one, two, other = batches(0, 2), batches(0, 2), batches(1, 2)

    assert all(torch.equal(a.pixels, b.pixels) and a.key == b.key for a, b in zip(one, two, strict=True))
    assert [batch.key for batch in one] != [batch.key for batch in other]


def test_ranks_stream_different_samples(shapes: Path) -> None:
    urls = shard_urls(shapes / "images" / "train")

    ranks = [next(iter(StreamingLoader(urls, ImageDecoder(4), 8, 0, rank, 2, shuffle=10))) for rank in range(2)]

    assert ranks[0].key != ranks[1].key


def test_a_shard_pattern_trains_without_validation(shapes: Path) -> None:
    data = ImageData(f"{shapes}/images/train/{{00000..00002}}.tar", 8, 4, reader="streaming")

    assert next(iter(data.train_dataloader())).pixels.shape == (4, 3, 8, 8)
    assert data.val_dataloader() == []


@pytest.mark.parametrize("cut", ["in a member", "between members"])
def test_a_cut_shard_never_gives_half_a_sample(make_shard: MakeShard, png: bytes, cut: str) -> None:
    # In both, `b` is cut after its image; the next shard has a `b` of its own.
    broken = make_shard(pairs(png, "a", "b", word="first "))
    block = 512
    ends = {"in a member": 6 * block + 3 * block // 2, "between members": 6 * block}
    broken.write_bytes(broken.read_bytes()[: ends[cut]])
    whole = make_shard(pairs(png, "b", "c", word="second "))

    loader = stream(broken, whole)

    assert captions(loader, 20) == {("a", "first a"), ("b", "second b"), ("c", "second c")}
    assert any("the shard breaks off" in reason for reason in loader.bad.values())


def test_bad_members_are_counted_and_nothing_in_them_runs(make_shard: MakeShard, png: bytes, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    pickle = f"cposix\nsystem\n(S'touch {proof}'\ntR.".encode()
    shard = make_shard(
        [
            *pairs(png, "a"),
            *pairs(png, "../evil"),
            ("p.pkl", pickle),
            ("p.pyd", pickle),
            ("d.png", png),
            ("d.PNG", png),
            ("d.txt", b"twice"),
            *pairs(png, "a"),
            ("e.png", b"not an image"),
            ("e.txt", b"e"),
            *pairs(png, "f"),
        ]
    )

    loader = stream(shard)

    assert captions(loader, 10) == {("a", "a"), ("f", "f")}
    reasons = {name.rpartition(":")[2]: reason for name, reason in loader.bad.items()}
    assert set(reasons) == {"../evil", "p", "d", "a", "e"}
    assert "not a safe name" in reasons["../evil"]
    assert "comes twice in the shard" in reasons["a"]
    assert not proof.exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_bad_samples_ends_in_one_message(make_shard: MakeShard, workers: int) -> None:
    with pytest.raises(UserError, match="3 bad samples in a row: .*not a readable JPEG.*; remove them, or check the"):
        next(iter(stream(make_shard([("a.png", b"?"), ("a.txt", b"a")]), max_bad=3, workers=workers)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.tar shards"):
        shard_urls(tmp_path)


def test_a_shard_that_cannot_be_read_is_no_bad_sample(make_shard: MakeShard, png: bytes) -> None:
    shard = make_shard(pairs(png, "a", "b"))

    with pytest.raises(UserError, match=r"missing\.tar: cannot be read \(No such file or directory\)"):
        list(islice(stream(shard, shard.with_name("missing.tar")), 20))
