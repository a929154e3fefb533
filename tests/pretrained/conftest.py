"""Models that the tests of this folder share: one of each kind, read only."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import tiny_diffusers`
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import tiny_diffusers  # noqa: E402


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    karlo = tiny_diffusers.karlo(folder / "karlo")
    return {
        "unconditional": tiny_diffusers.unconditional(folder / "ddpm"),
        "text-to-image": tiny_diffusers.text_to_image(folder / "sd"),
        "unclip decoder": karlo / "decoder",
        "super-resolution": karlo / "super_res_first",
    }
