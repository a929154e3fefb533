"""Classes of the user's own packages can be named once they are allowed, and nothing else of them can."""

import sys
from pathlib import Path

import pytest

from mav_lightning.common import allowed
from mav_lightning.common.errors import UserError

SOURCE = "import os\nfrom pathlib import Path\n\nclass Layer: ...\n\nclass _Hidden: ...\n\ndef act(): ...\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "hislab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "layers.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("hislab")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(allowed, "_allowed", {})
    return "hislab"


def test_a_class_is_imported_once_its_package_is_allowed(package: str) -> None:
    with pytest.raises(UserError, match="add --allow hislab"):
        allowed.import_class("hislab.layers.Layer")
    allowed.allow([package])
    assert allowed.import_class("hislab.layers.Layer").__name__ == "Layer"
    assert allowed.is_allowed("hislab.layers")
    assert not allowed.is_allowed("hislabels")


@pytest.mark.parametrize("name", ["layers._Hidden", "layers.act", "layers.os", "layers.Path", "layers.None_", "gone.A"])
def test_only_its_own_public_classes_can_be_named(package: str, name: str) -> None:
    allowed.allow([package])
    with pytest.raises(UserError, match="hislab"):
        allowed.import_class(f"hislab.{name}")


@pytest.mark.parametrize("name", ["no_such_package_here", "a b", "", "sys", 5, "hislab.layers.Layer"])
def test_only_packages_with_source_can_be_allowed(package: str, name: str) -> None:
    with pytest.raises(UserError, match="allow"):
        allowed.allow([name])


def test_the_source_hash_follows_every_source_file(package: str, tmp_path: Path) -> None:
    before = allowed.source_sha256(package)
    (tmp_path / "hislab" / "notes.txt").write_text("no source")
    assert allowed.source_sha256(package) == before
    (tmp_path / "hislab" / "layers.py").write_text(SOURCE + "# changed\n")
    assert allowed.source_sha256(package) != before
