"""The Python examples in the documents run as they stand, in the order they stand, in one folder."""

import re
from pathlib import Path

import pytest

from datamodules.shapes_world_shards import WriteShapesWorld

ROOT = Path(__file__).parent.parent


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset `shapes` and clips `clips` in it."""
    place = tmp_path_factory.mktemp("quick_starts")
    WriteShapesWorld(images=8, clips=12, val_images=8, val_clips=40, processes=1).run(place / "shapes")
    return place


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_examples_run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = blocks(ROOT / page)
    assert found
    names: dict[str, object] = {}
    for number, block in enumerate(found):
        exec(compile(block, f"{page}, Python block {number}", "exec"), names)
    shape = getattr(names["clips"], "shape", None)
    assert shape == (1, 33, 64, 64, 3)
