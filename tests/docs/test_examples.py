"""The examples of the documents run as they stand: page by page, in their order, in one folder.

The text of the page is what runs. Trainings are cut to two steps, and datasets and sampling are made small, by options
that are appended to every command of a kind. Studies and recipes, which train for minutes even so, run in full in
`make test-slow`, and as a dry run otherwise. What needs a download or a cluster is listed in `CHECKED_ONLY`.
"""

import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from bring import bring
from pages import ROOT, SHELL, blocks, commands, file_name, lines

from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import command_line, main
from mav_lightning.common import allowed
from mav_lightning.config import find_config, load_config, read_yaml
from mav_lightning.runs.recipe import load_recipe

# Pages that run; later pages of a row continue in the folder of the first.
PAGES = [
    ("README.md", "docs/cascade.md"),
    ("docs/shapes-world.md",),
    ("docs/tutorial.md",),
    ("docs/measures.md",),
    ("docs/studies.md",),
    ("docs/python.md",),
    ("docs/bring-your-own.md",),
]
# Part of a command that is checked, but not run → why.
CHECKED_ONLY = {
    "--executor ray": "needs a cluster",
    "clip-vit-base-patch32": "needs a download",
    "runs/hf": "needs the CLIP before it",
    "data.embeddings=ID": "the ID stands for what the command before it prints",
    "theirs": "needs a network or clips of others",
    "ucf101": "needs a download",
    "chain.pem": "needs a certificate",
    "clips/signed": "needs the certificate before it",
    "--devices 2": "needs two devices",
    "--import evaluation_results": "needs VBench's results",
    "--with vbench.json": "needs VBench's results",
}
SMALL_DATA = {"images": 72, "clips": 72, "val_images": 8, "val_clips": 40}


def appended(words: list[str]) -> list[str]:
    """Return the options that make a command small, by the kind of the command alone."""
    if words[:2] == ["data", "shapes"]:
        return [part for key, value in SMALL_DATA.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    if words[0] == "generate":
        return ["--steps", "2"]
    if words[0] == "train" and "stages" not in read_yaml(find_config(words[1])):
        return ["fit.steps=2"] if load_config(words[1]).get("fit") else []
    return smaller_stages(words) if is_of_stages(words) and "--dry-run" not in words else []


def is_of_stages(words: list[str]) -> bool:
    """Return whether a command trains a whole system or study."""
    return words[0] == "ablate" or (words[0] == "train" and "stages" in read_yaml(find_config(words[1])))


def smaller_stages(words: list[str]) -> list[str]:
    """Return overrides that make every stage of a recipe small."""
    from mav_lightning.ablation.study_file import load_study

    recipe = load_recipe(words[1]) if words[0] == "train" else load_study(words[1])[1]
    overrides = []
    for name, spec in recipe.stages.items():
        task = (spec.defaults.get("task") or {}).get("_target_", "")
        if spec.defaults.get("fit"):
            overrides.append(f"{name}.fit.steps=2")
        if task.endswith("WriteShapesWorld"):
            overrides += [f"{name}.task.{key}={value}" for key, value in SMALL_DATA.items()]
        if "Sample" in task:
            overrides.append(f"{name}.task.sampling.steps=2")
    return overrides


def check(words: list[str]) -> None:
    """Check the options of a command without running it."""
    command = command_line()
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    for parameter in command.params:
        parameter.callback = None  # which would look for files
    command.make_context(command.name, rest)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command as the shell would, in this process."""
    monkeypatch.setattr(sys, "argv", ["mav", *words, *appended(words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code, " ".join(sys.argv)


def run_page(page: Path, in_full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page: save files, execute Python, run commands."""
    names: dict[str, object] = {}
    unbuilt: list[str] = []  # outputs of studies and recipes that were only checked
    for language, block in blocks(page):
        if name := file_name(block):
            Path(name).write_text(block)
        elif language == "python":
            exec(compile(block, f"{page}, a Python block", "exec"), names)
        for line in lines(block) if language == "bash" else []:
            if not line.startswith("mav "):
                assert line.split()[0] in SHELL, f"{page}: `{line}` is neither a mav command nor known to this test"
                continue
            words = shlex.split(line, comments=True)[1:]
            if any(part in line for part in CHECKED_ONLY) or any(
                word.startswith(out) for word in words for out in unbuilt
            ):
                check(words)
            elif is_of_stages(words) and not in_full and "--dry-run" not in words:
                unbuilt += [words[words.index("--out") + 1]] if "--out" in words else []
                run([*words, "--dry-run"], monkeypatch)
            else:
                run(words, monkeypatch)


@pytest.mark.parametrize("in_full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "in full"])
@pytest.mark.parametrize("pages", PAGES, ids=[" and ".join(pages) for pages in PAGES])
def test_pages_run_from_top_to_bottom(
    pages: tuple[str, ...], in_full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(allowed, "_allowed", {})
    if not in_full:
        monkeypatch.setattr(Pipeline, "from_pretrained", partial(Pipeline.from_pretrained, steps=2))
        # Of two steps, loops jump, and would be drawn and super-resolved four times each.
        monkeypatch.setattr("mav_lightning.cascade.sampling_chain.LOOP_ATTEMPTS", 1)
    bring(tmp_path)
    shutil.copytree(ROOT / "tests" / "mylab", tmp_path / "mylab", ignore=shutil.ignore_patterns("__pycache__"))
    for page in pages:
        run_page(ROOT / page, in_full, monkeypatch)


def test_no_exception_is_out_of_date() -> None:
    text = "\n".join(" ".join(words) for pages in PAGES for page in pages for words in commands(ROOT / page))
    assert not [part for part in CHECKED_ONLY if part not in text]
