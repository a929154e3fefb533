from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from evaluation.feature_store import FeatureStore, key_of
from mav_lightning.common.errors import UserError

VIEW = {"extractor": "toy", "size": 16}


def test_what_one_process_writes_another_reads_in_any_order(tmp_path: Path) -> None:
    writer, reader = FeatureStore(tmp_path, VIEW), FeatureStore(tmp_path, VIEW)
    assert reader.missing(["a", "b", "c", "a"]) == ["a", "b", "c"]
    rows = torch.arange(6.0).reshape(3, 1, 2)

    writer.add(["a", "b"], rows[:2])
    writer.add(["c"], rows[2:])

    assert reader.missing(["a", "d", "c"]) == ["d"]
    torch.testing.assert_close(reader.read(["c", "a", "a"]), rows[[2, 0, 0]], rtol=0, atol=0)


def test_another_view_has_none_of_them(tmp_path: Path) -> None:
    FeatureStore(tmp_path, VIEW).add(["a"], torch.zeros(1, 1, 2))

    assert FeatureStore(tmp_path, VIEW | {"size": 32}).missing(["a"]) == ["a"]
    assert (next(iter(tmp_path.iterdir())) / "view.json").is_file()


def test_precision_is_kept(tmp_path: Path) -> None:
    exact = torch.tensor([[[1 / 3]]], dtype=torch.float64)
    FeatureStore(tmp_path, VIEW).add(["a"], exact)

    assert torch.equal(FeatureStore(tmp_path, VIEW).read(["a"]), exact)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_is_named_and_its_features_are_extracted_again(damage: str, tmp_path: Path) -> None:
    FeatureStore(tmp_path, VIEW).add(["a", "b"], torch.ones(2, 1, 2))
    (file,) = tmp_path.rglob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content[:20] if damage == "cut" else content)

    store = FeatureStore(tmp_path, VIEW)
    with pytest.warns(UserWarning, match=rf"{file.name}: damaged \(.*\); its features are extracted again"):
        assert store.missing(["a", "b"]) == ["a", "b"]
    with pytest.raises(UserError, match="1 features are missing or damaged; run the evaluation again"):
        store.read(["a"])

    store.add(["a", "b"], torch.ones(2, 1, 2))
    assert torch.equal(store.read(["b"]), torch.ones(1, 1, 2))
    assert FeatureStore(tmp_path, VIEW).missing(["a", "b"]) == []


def test_features_without_a_hash_are_extracted_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, VIEW)
    store.add(["a"], torch.zeros(1, 1, 2))
    save_file({"b": torch.zeros(1, 2)}, store.folder / "old.safetensors")

    assert FeatureStore(tmp_path, VIEW).missing(["a", "b"]) == ["b"]


def test_a_half_written_file_is_not_looked_at(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, VIEW)
    store.add(["a"], torch.zeros(1, 1, 2))
    (store.folder / ".0123.safetensors.77.partial").write_bytes(b"half")

    assert FeatureStore(tmp_path, VIEW).missing(["a"]) == []


def test_keys_tell_their_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
