"""Small shards for the tests of the data: made here, once."""

import io
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.index import build_index
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.common.video_encoding import encode_mp4

sys.path.insert(0, str(Path(__file__).parent))  # for `import recording`

Members = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Shapes World: read only."""
    out = tmp_path_factory.mktemp("data") / "shapes"
    WriteShapesWorld(
        images=21, clips=22, val_images=5, val_clips=72, size=16, seconds=2.5, fps=16, shard_size=10, processes=1
    ).run(out)
    return out


@pytest.fixture(scope="session")
def make_mp4() -> Callable[..., bytes]:
    """Makes a video whose frame i is grey of level 4 i, so that a frame tells its number."""

    def make(frames: int = 40, fps: float = 20.0, size: int = 16) -> bytes:
        levels = 4 * np.arange(frames, dtype=np.uint8)
        return encode_mp4(np.broadcast_to(levels[:, None, None, None], (frames, size, size, 3)).copy(), fps, crf=1)

    return make


@pytest.fixture(scope="session")
def png() -> bytes:
    """An image."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_shard(tmp_path: Path) -> Callable[[Members], Path]:
    """Writes members as they are to the next shard of a folder; returns the shard."""

    def make(members: Members, folder: str = "train") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / f"{len(list((tmp_path / folder).glob('*.tar'))):05d}.tar"
        with tarfile.open(path, "w") as archive:
            for name, data in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return path

    return make


@pytest.fixture
def clip_folder(make_shard: Callable[[Members], Path], make_mp4: Callable[..., bytes]) -> Path:
    """Two shards of six videos each, indexed."""
    for shard in range(2):
        make_shard([(f"{shard}-{number}.mp4", make_mp4(30 + number)) for number in range(6)])
    folder = make_shard([]).parent
    (folder / "00002.tar").unlink()
    build_index(folder)
    return folder


@pytest.fixture
def shard(make_shard: Callable[[Members], Path], png: bytes) -> bytes:
    """Twelve samples, `0` to `11`."""
    names = [
        (f"{number}.{suffix}", data) for number in range(12) for suffix, data in (("png", png), ("txt", b"%d" % number))
    ]
    return make_shard(names).read_bytes()
