"""Shards of any content, also malformed."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import tars`

from tars import tar  # noqa: E402


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes shards, each given by its members or its bytes, to a folder; returns the folder."""

    def make(*shards: Sequence[tuple[str, bytes]] | bytes, name: str = "train") -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        for number, content in enumerate(shards):
            data = content if isinstance(content, bytes) else tar(content)
            (tmp_path / name / f"{number:05d}.tar").write_bytes(data)
        return tmp_path / name

    return make
