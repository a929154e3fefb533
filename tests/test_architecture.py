"""Imports point one way: the rule of the design, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Package → what it may import of ours. Longer names win.
ALLOWED = {
    "mav_lightning.common": {"mav_lightning.common"},
    "mav_lightning.media": {"mav_lightning.media", "mav_lightning.common"},
    "mav_lightning.shards": {"mav_lightning.shards", "mav_lightning.media", "mav_lightning.common"},
    "datamodules": {"datamodules", "mav_lightning.shards", "mav_lightning.media", "mav_lightning.common"},
    "evaluation": {"evaluation", "mav_lightning.shards", "mav_lightning.media", "mav_lightning.common"},
    "mav_lightning.nn": {"mav_lightning.nn", "mav_lightning.common"},
    "mav_lightning.diffusion": {"mav_lightning.diffusion", "mav_lightning.nn.base", "mav_lightning.common"},
    "mav_lightning.networks": {"mav_lightning.networks", "mav_lightning.nn.initialization", "mav_lightning.common"},
    "mav_lightning.config": {
        "mav_lightning.config", "mav_lightning.networks", "mav_lightning.training", "mav_lightning.common",
        "evaluation.version", "evaluation.protocol",
    },
    "mav_lightning.modules": {
        "mav_lightning.networks",
        "mav_lightning.modules", "mav_lightning.diffusion", "mav_lightning.nn", "mav_lightning.common",
        "mav_lightning.prompts", "datamodules.batch",
    },
    "mav_lightning.cascade": {
        "mav_lightning.cascade", "mav_lightning.diffusion", "mav_lightning.nn", "mav_lightning.networks",
        "mav_lightning.prompts", "mav_lightning.media", "mav_lightning.common",
    },
    "mav_lightning.training": {
        "mav_lightning.training", "mav_lightning.networks", "mav_lightning.modules.base", "mav_lightning.common",
    },
    "mav_lightning.runs": {
        "mav_lightning.runs", "mav_lightning.training", "mav_lightning.cascade.pipeline_folder",
        "mav_lightning.modules.base", "mav_lightning.networks", "mav_lightning.config", "mav_lightning.common",
        "datamodules.index", "evaluation",
    },
    "mav_lightning.ablation": {
        "mav_lightning.ablation", "mav_lightning.runs", "mav_lightning.config", "mav_lightning.media",
        "mav_lightning.common", "mav_lightning.flops", "evaluation.protocol",
    },
    "mav_lightning.pretrained": {
        "mav_lightning.pretrained", "mav_lightning.nn", "mav_lightning.diffusion", "mav_lightning.networks",
        "mav_lightning.certificate", "mav_lightning.common",
    },
    "mav_lightning.baselines": {"mav_lightning.baselines", "mav_lightning.nn", "mav_lightning.common"},
    "mav_lightning.cli": {"mav_lightning", "datamodules", "evaluation"},
}  # fmt: skip
TORCH_ONLY = {"mav_lightning.nn", "mav_lightning.diffusion"}
OURS = ("mav_lightning", "datamodules", "evaluation")


def violations(package: str, source: str, where: str) -> list[str]:
    """Imports in `source` that `package` may not make."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            ours = name.split(".")[0] in OURS and name != "mav_lightning"  # which holds the version alone
            if ours and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[package]):
                found.append(f"{where}:{node.lineno} imports {name}; {package} may import {sorted(ALLOWED[package])}")
            if package in TORCH_ONLY and name.split(".")[0] in ("lightning", "torchmetrics", "omegaconf", "av"):
                found.append(f"{where}:{node.lineno} imports {name}; {package} is torch only")
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
    assert files, f"{package} has no files: the rule would check nothing"
    found = [line for file in files for line in violations(package, file.read_text(), str(file.relative_to(ROOT)))]
    assert not found, "\n".join(found)


def test_the_rule_finds_a_planted_import() -> None:
    assert violations("mav_lightning.nn", "import lightning\n", "x.py") == [
        "x.py:1 imports lightning; mav_lightning.nn is torch only"
    ]
    planted = "from mav_lightning.modules.clip_module import CLIPModule\n"
    assert "may import" in violations("evaluation", planted, "x.py")[0]


def test_the_packages_import_nothing_heavy() -> None:
    source = (ROOT / "mav_lightning" / "__init__.py").read_text()
    imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    hook = "mav_lightning.common.torchvision_hook"  # which imports nothing but `sys`
    assert [node.module for node in imported if isinstance(node, ast.ImportFrom)] == [hook] and len(imported) == 1
