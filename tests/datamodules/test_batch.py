import pytest
import torch

from datamodules.batch import ClipBatch, ImageBatch


def clip_batch(**changes: object) -> ClipBatch:
    return ClipBatch(**{"pixels": torch.zeros(2, 3, 4, 8, 8), "fps": torch.ones(2), "key": ["a", "b"], **changes})


def test_a_batch_moves_all_its_tensors_and_keeps_the_rest() -> None:
    moved = clip_batch(embedding=torch.zeros(2, 5)).to("meta")

    assert {moved.pixels.device.type, moved.fps.device.type, moved.embedding.device.type} == {"meta"}
    assert moved.key == ["a", "b"]
    assert len(moved) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": torch.zeros(2, 4, 3, 8, 8)}, r"must have shape \(B, 3, T, H, W\), got \(2, 4, 3, 8, 8\)"),
        ({"pixels": torch.zeros(2, 3, 8, 8)}, r"must have shape \(B, 3, T, H, W\), got \(2, 3, 8, 8\)"),
        ({"pixels": torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8)}, r"got torch.uint8; scale by x / 127.5 - 1"),
        ({"pixels": torch.full((2, 3, 4, 8, 8), 255.0)}, r"must be in \[-1, 1\], got magnitude 255"),
        ({"fps": torch.ones(2, dtype=torch.int64)}, r"`fps` must be float of shape \(B,\), got torch.int64"),
        ({"fps": torch.ones(3)}, r"`fps` has 3 entries for 2 samples"),
        ({"key": ["a"]}, r"`key` has 1 entry for 2 samples"),
        ({"embedding": torch.zeros(1, 5)}, r"`embedding` has 1 entry for 2 samples"),
    ],
)
def test_a_clip_batch_refuses_what_it_cannot_hold(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_batch(**changes)


def test_an_image_batch_needs_a_caption_for_each_image() -> None:
    pixels = torch.zeros(2, 3, 8, 8)

    assert ImageBatch(pixels, None, ["a", "b"]).caption is None
    with pytest.raises(ValueError, match="`caption` has 1 entry for 2 samples"):
        ImageBatch(pixels, ["one"], ["a", "b"])
