"""The notebooks run from top to bottom, with fewer steps and less data than as they stand."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TINY = {
    "first-study": """
FOLDER, IMAGES, CLIPS, SEEDS = "first-study", 64, 16, [0, 1]
STEPS = {"clip": 2, "spatial": 2, "temporal": 2}
PROMPTS = ["a red circle on a dark background", "a blue square"]
"""
}


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> list[list[str]]:
    """What each code cell shows: the types of its displayed outputs."""
    shown = [[list(output.get("data", {})) for output in cell.outputs] for cell in code_cells(notebook)]
    return [[kind for kinds in outputs for kind in sorted(kinds)] for outputs in shown]


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_shows_with_tiny_parameters_what_its_stored_outputs_show(file: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    stored = kinds(notebook)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = TINY[file.stem]

    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()

    assert kinds(notebook) == stored
    assert (tmp_path / "first-study" / "study" / "report.html").exists()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_small_and_complete_and_names_no_place_of_its_author(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert not [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"]
    assert file.stat().st_size < 500_000
    assert not [part for part in ("/home/", "/root/", "/tmp/") if part in file.read_text()]
