"""Mistakes in arguments are reported before anything heavy is imported, for every command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# The words of a command → part of the message. Words in braces are paths in a folder that holds the file `a.txt` alone.
MISTAKES = {
    "generate x --out {o} --format webm": "webm",
    "generate x --out {o} --fps 0": "--fps: must be a finite number above 0, got 0.0",
    "generate x --out {o} --fps nan": "--fps: must be a finite number above 0, got nan",
    "generate x --out {o} --fps 60": "--fps: 60 frames per second is outside the trained range of `decoder`; choose 4",
    "generate x --out {o} --seed -1": "--seed: must be a whole number ≥ 0",
    "generate x --out {o} --steps 1": "--steps: must be a whole number ≥ 2",
    "generate x --out {o} --per-prompt 0": "--per-prompt: must be a whole number above 0",
    "generate x --out {o} --per-prompt 1000000": "1000000 clips are requested, at most 100000",
    "generate x --out {o} --scale 2 --no-mark": "--scale: got 2, but clips without the mark",
    "generate x --out {o} --sign {a.txt} {a.txt} --format mkv": "--format: mkv cannot be signed",
    "generate x --out {o} --pipeline {none}": "--pipeline: {none}: no such folder; write a pipeline",
    "generate x --out {o} --pipeline {}": "--pipeline: {}: holds no `pipeline.json`; write a pipeline",
    "generate --out {o} --prompts-file {none}": "--prompts-file: {none}: no such file",
    "generate --out {o} --animate {none}": "--animate: {none}: no such file",
    "generate --out {o} --interpolate {a.txt} {none}": "--interpolate: {none}: no such file",
    "generate --out {o}": "give either prompts or one of --animate",
    "generate x --out {a.txt}": "--out: {a.txt}: is not a folder",
    "generate x": "--out",
    "inspect {none}": "{none}: no such file or folder",
    "motion {none}": "{none}: no such folder",
    "motion {} --frames 2": "--frames: must be a whole number ≥ 3, got 2",
    "motion {} --fps 0": "--fps: must be a finite number above 0",
    "motion {} --out {a.txt}": "--out: {a.txt}: exists; replace it with --overwrite, or choose another path",
    "evaluate --generated {none}": "--generated: {none}: no such folder",
    "evaluate --generated {} --protocol shapes-tyni": "--protocol: there is no protocol `shapes-tyni`",
    "evaluate --generated {} --protocol mine.yaml": "--protocol: mine.yaml: no such file",
    "evaluate --generated {} --real {none}": "--real: {none}: no such folder",
    "evaluate --generated {} --out {a.txt}": "--out: {a.txt}: exists; replace it with --overwrite",
    "evaluate --generated {} --out {}": "--out: {}: is a folder; give the name of a file",
    "evaluate --generated {} --features {a.txt}": "--features: {a.txt}: is not a folder",
    "baseline stattic --source {} --protocol shapes-tiny --out {o}": "stattic",
    "baseline static --source {} --protocol shapes-tiny --out {}": "--out: {}: already holds something",
    "train stage/clip_tinny.yaml": "Did you mean `stage/clip_tiny.yaml`?",
    "ablate ablation/quik.yaml": "Did you mean `ablation/quick.yaml`?",
    "ablate ablation/quick.yaml --beside {none}": "--beside: {none}: no such folder",
    "certify stage/clip_tinny.yaml": "Did you mean `stage/clip_tiny.yaml`?",
    "cost stage/clip_tinny.yaml": "Did you mean `stage/clip_tiny.yaml`?",
    "config stage/clip_tinny.yaml": "Did you mean `stage/clip_tiny.yaml`?",
    "checkpoint export {none} --out {o}": "{none}: no such folder; train the stage with `mav train`",
    "checkpoint export {} --out {o}": "{}: holds no `network.json`; train the stage with `mav train`",
    "convert {none} --out {o}": "{none}: no such folder",
    "layers {none}": "{none}: no such folder",
    "report {none}": "{none}: no such folder",
    "compare {none} {none}": "{none}: no such file; `mav evaluate` writes them",
    "pipeline --clip {none} --prior {} --decoder {} --out {o}": "--clip: {none}: no such folder",
    "pipeline --from karlo {none} --out {o}": "--from: {none}: no such folder; give one in the format of diffusers",
    "pipeline --from carlo {} --out {o}": "--from: must be one of `karlo`, `stable-unclip`, got 'carlo'.",
    "pipeline --out {o}": "--clip, --prior, --decoder missing; give folders of trained networks, or --from karlo FOL",
    "pipeline --sampler ddmi --clip {} --prior {} --decoder {} --out {o}": "--sampler: must be one of `dpm++2m`",
    "demo --jobs 0": "--jobs",
    "weights fetch i3d": "no weights `i3d`",
    "data shapes --out {o} --clips 0": "--clips: must be a whole number above 0, got 0",
    "data shapes --out {}": "--out: {}: already holds something; replace it with --overwrite",
    "data pack {none} --captions {a.txt} --out {o}": "{none}: no such folder",
    "data pack {} --captions {none} --out {o}": "--captions: {none}: no such file",
    "data pack {} --captions {a.txt} --out {o} --val 2": "--val: must be a finite number",
    "data prompts {none} --out {o}": "{none}: no such file",
    "data index {none}": "{none}: no such folder; write shards with `mav data pack`",
    "data lint {none}": "{none}: no such folder; write shards with `mav data pack`",
    "data embed {} --clip {none}": "--clip: {none}: no such folder",
    "data show {} --rows 0": "--rows: must be a whole number above 0",
}
PROGRAM = """
import contextlib, io, json, sys
from mav_lightning.cli.app import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv, printed, code = ["mav", *words], io.StringIO(), 0
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    found.append([code, printed.getvalue(), sorted({"torch", "lightning", "sklearn", "scipy"} & set(sys.modules))])
print(json.dumps(found))
"""


def filled(text: str, folder: Path) -> str:
    for name in ("none", "a.txt", "o", ""):
        text = text.replace("{" + name + "}", str(folder / name) if name else str(folder))
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mistakes")
    (place / "a.txt").touch()
    return place


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, tuple[int, str, list[str]]]:
    """Exit code, output, and heavy packages imported by then; all commands run one after the other in one process."""
    commands = [[filled(word, folder) for word in line.split()] for line in MISTAKES]
    words = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder.parent, check=True)
    return dict(zip(MISTAKES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_without_heavy_imports(
    line: str, folder: Path, outcomes: dict[str, tuple[int, str, list[str]]]
) -> None:
    code, printed, heavy = outcomes[line]
    shown = " ".join(printed.split())
    assert code == 2, printed
    assert filled(MISTAKES[line], folder) in shown
    assert "Traceback" not in printed
    assert heavy == []


def test_nothing_is_written_by_a_mistake(folder: Path, outcomes: dict[str, tuple[int, str, list[str]]]) -> None:
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
