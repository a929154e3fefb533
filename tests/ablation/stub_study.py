"""A study of stub stages: the quick study's shape, seconds to run."""

import sys
from pathlib import Path

__all__ = ["STUB_COMMAND", "write_study"]

STUB_COMMAND = (sys.executable, str(Path(__file__).parent / "stub_stage.py"))

_STAGES = {
    "data": "kind: data\nsize: 16\n",
    "clip": "kind: train\nseed: 0\nframes: 3\nneeds: {data: '@data'}\n",
    "spatial": "kind: train\nseed: 0\nframes: 9\nneeds: {data: '@data', clip: '@clip'}\n",
    "temporal": "kind: train\nseed: 0\nframes: 8\nneeds: {data: '@data', parent: '@parent'}\n",
    "sample": "kind: sample\nseed: 0\nsize: 16\nframes: 9\nneeds: {decoder: '@decoder'}\n",
    "score": "kind: score\nneeds: {real: '@real', generated: '@generated'}\n",
}
_NEEDS = {
    "data": "{}",
    "clip": "{data: data}",
    "spatial": "{data: data, clip: clip}",
    "temporal": "{data: data, parent: spatial}",
    "sample": "{decoder: temporal}",
    "score": "{real: data, generated: sample}",
}
_STUDY = """
question: Do temporal layers make motion, or are independent frames enough?
recipe: {recipe}
seeds: [0, 1]
baseline: temporal
metrics:
  - {{name: shapes-fvd, better: lower}}
  - {{name: law, better: higher}}
  - {{name: flicker, better: lower}}
  - {{name: appearance, better: higher}}
overrides: {{temporal.frames: 9}}
variants:
  temporal: {{}}
  per_frame: {{sample.needs.decoder: spatial}}
"""


def write_study(folder: Path, *edits: tuple[str, str]) -> Path:
    """Write stage configs, a recipe and the study; pairs of (old, new) edit the study's text."""
    for name, text in _STAGES.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    stages = "".join(f"  {n}: {{config: {folder / n}.yaml, needs: {_NEEDS[n]}}}\n" for n in _STAGES)
    (folder / "recipe.yaml").write_text(f"stages:\n{stages}")
    text = _STUDY.format(recipe=folder / "recipe.yaml")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (folder / "quick.yaml").write_text(text)
    return folder / "quick.yaml"
