"""Exchange with VBench: its layout of clips, and its results."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, evaluator
from rating_folders import write_system

from evaluation import intervals
from evaluation.vbench import export_vbench, import_vbench
from mav_lightning.common.errors import UserError
from mav_lightning.media.media_reader import read_frames


def prompt_from_file_name(path: str) -> str:
    """As vbench.utils.get_prompt_from_filename of release 0.1.5."""
    return re.sub(r"-\d+$", "", Path(path).stem)


def test_clips_are_named_as_vbench_reads_them(tmp_path: Path) -> None:
    prompts = ["a cat", "a dog", "a cat", "and/or", "x" * 300]
    clips = write_system(tmp_path / "clips", 0, prompts)
    assert export_vbench(clips, tmp_path / "out") == 5
    named = json.loads((tmp_path / "out" / "prompts.json").read_text())
    videos = sorted(path.name for path in (tmp_path / "out" / "videos").iterdir())
    assert sorted(named) == videos and sorted(named.values()) == sorted(prompts)
    assert {"a cat-0.mp4", "a cat-1.mp4", "a dog-0.mp4"} < set(videos)
    assert {prompt_from_file_name(name) for name in videos} >= {"a cat", "a dog"}
    assert read_frames(tmp_path / "out" / "videos" / "a dog-0.mp4").shape == (4, 8, 6, 3)


def test_clips_without_prompts_are_refused(tmp_path: Path) -> None:
    clips = write_system(tmp_path / "clips", 0, ["a cat", None])
    with pytest.raises(UserError, match="1 clips have no prompt, first `1`; give a table"):
        export_vbench(clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_vbench(clips, tmp_path / "out", {"0": "zero", "1": "one"}) == 2


def results_file(folder: Path, **content: Any) -> Path:
    path = folder / "mine_eval_results.json"
    path.write_text(json.dumps(content))
    return path


def rows(**scores: float | bool) -> list[dict[str, Any]]:
    return [{"video_path": f"./videos/{name}.mp4", "video_results": score} for name, score in scores.items()]


def test_results_keep_vbench_values_and_get_intervals_over_prompts(tmp_path: Path) -> None:
    clips = {"a cat-0": 0.9, "a cat-1": 0.7, "a dog-0": 0.5}
    file = results_file(
        tmp_path,
        subject_consistency=[0.71, rows(**clips)],
        imaging_quality=[0.6, rows(**{name: 100 * score for name, score in clips.items()})],
        dynamic_degree=[1.0, rows(**dict.fromkeys(clips, True))],
    )
    found = import_vbench(file)
    score = found["metrics"]["subject_consistency"]
    assert (score["value"], score["n"]) == (0.71, 3)
    assert score["interval"] == pytest.approx(intervals.mean(np.array([0.8, 0.5])))
    assert found["metrics"]["imaging_quality"]["interval"] == pytest.approx(score["interval"]), "percent of clips"
    assert found["clips"]["a cat-1.mp4"] == {
        "subject_consistency": 0.7, "imaging_quality": pytest.approx(0.7), "dynamic_degree": 1.0
    }  # fmt: skip
    assert found["title"] == "VBench: mine" and found["origin"]["file"] == "mine_eval_results.json"
    assert re.fullmatch("[0-9a-f]{64}", found["origin"]["sha256"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no dimensions"),
        ({"color": 3}, "color"),
        ({"color": [0.5]}, "color: must be a value and a list of clips, got 1"),
        ({"color": [0.5, [{"video_path": "a.mp4"}]]}, "color.1.0"),
        ({"color": ["high", []]}, "color.0"),
        ({"color": [0.5, [*rows(a=0.5), *rows(a=0.6)]]}, r"color\.1\.1: a second score of \./videos/a\.mp4"),
        ({"color": [0.5, [*rows(a=0.5), *rows(**{"../a": 0.5})]]}, "color: has `a.mp4` of two folders; import each by"),
        ({"imaging_quality": [0.6, rows(a=0.6)]}, "the score 0.6 is not between those of its clips, 0.006 to 0.006"),
        ({"imaging_quality": [60.0, rows(a=60.0)]}, "the score 60 is not between those of its clips, 0.6 to 0.6"),
    ],
)
def test_other_files_are_refused(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        import_vbench(results_file(tmp_path, **content))


def test_the_command_exports_and_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_system(tmp_path / "clips", 0, ["a cat"])
    monkeypatch.setattr("sys.argv", ["mav"])
    results = results_file(tmp_path, color=[0.5, rows(a=0.5)])
    run: Run = evaluator({"--import": results, "--out": tmp_path / "vbench.json"}, monkeypatch, capsys)
    code, told = run()
    assert code == 0 and "VBench: mine" in told
    assert json.loads((tmp_path / "vbench.json").read_text())["metrics"]["color"]["value"] == 0.5

    from mav_lightning.cli.app import main

    for words, code, message in (
        (["--generated", clips, "--export", "vbench", tmp_path / "vb"], 0, "--mode custom_input --prompt_file"),
        (["--generated", clips, "--export", "vbench", clips], 2, "already holds something"),
        (["--generated", clips, "--export", "evalcrafter", tmp_path / "x"], 2, "unknown layout `evalcrafter`"),
        (["--protocol", "shapes-tiny"], 2, "--generated: is needed; name the folder of clips."),
    ):
        monkeypatch.setattr("sys.argv", ["mav", "evaluate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert int(ended.value.code or 0) == code and message in " ".join((told.out + told.err).split())
    assert (tmp_path / "vb" / "videos" / "a cat-0.mp4").exists()
