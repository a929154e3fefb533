"""What can be known of an evaluation before any clip is extracted is refused before, all of it in one message."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation import Evaluation, load_protocol
from evaluation import extraction as extraction_module
from evaluation.clip_sources import VideoSource
from evaluation.cuts import Cut
from evaluation.notes import clip_notes
from evaluation.preflight import check_planned, fitting_protocols
from mav_lightning.common.errors import Refusals, UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.video_encoding import write_lossless

TINY = load_protocol("shapes-tiny")
SHAPES = frozenset({"prompt", "colour", "shape", "ground"})
GOOD = PlannedClips(
    144, 9, (4.0, 8.0, 16.0), SHAPES, "24 pairs × per_pair 2 × 3 frame rates", "sample.task.per_pair", 72
)


def generated(folder: Path, count: int = 40, frames: int = 9, fps: float = 8.0, prompt: str | None = None) -> Path:
    folder.mkdir(parents=True)
    rng, records = np.random.default_rng(0), []
    for number in range(count):
        name = f"{number:03d}"
        write_lossless(folder / f"{name}.mkv", rng.integers(0, 256, (frames, 16, 16, 3)).astype(np.uint8), fps)
        records.append(ClipRecord(name, f"{name}.mkv", fps, prompt))
    write_manifest(folder, records)
    return folder


def messages(refusals: Refusals) -> list[str]:
    return [str(error) for error in refusals.errors]


def test_clips_that_fit_are_not_refused(tmp_path: Path) -> None:
    assert messages(check_planned(TINY, GOOD, tmp_path)) == []


def test_too_few_clips_are_refused_with_the_setting_that_gives_enough(tmp_path: Path) -> None:
    few = replace(GOOD, count=8, fps=(8.0,), counted="4 prompts × per_prompt 2 × 1 frame rate", each=4)
    few = replace(few, setting="sample.task.per_prompt")

    assert messages(check_planned(TINY, few, tmp_path)) == [
        "8 clips (4 prompts × per_prompt 2 × 1 frame rate) are too few: `shapes-fvd` needs 33; set "
        "`sample.task.per_prompt` to 9 or more, or measure other metrics."
    ]
    assert messages(check_planned(TINY, replace(few, count=33), tmp_path)) == []


def test_the_number_of_clips_that_a_frame_distance_needs_counts_frames(tmp_path: Path) -> None:
    (error,) = messages(check_planned(TINY, replace(GOOD, count=3), tmp_path))
    assert "`shapes-fvd` needs 33, `shapes-fid` needs 4; set" in error, "33 rows of 9 frames are 4 clips"


def test_frames_and_rates_that_do_not_fit_name_the_protocols_that_do(tmp_path: Path) -> None:
    slow = replace(GOOD, frames=33, fps=(16.0,))
    fitting = set(fitting_protocols(33, (16.0,), 144))
    assert {"fid-clean", "shapes-tiny", "shapes-tiny-16fps"} <= fitting
    assert not fitting & {"shapes-tiny-64", "own-tiny", "fvd-styleganv-2048x16"}, "8 fps only, or 2,048 clips"
    cascade = replace(GOOD, frames=33, fps=(32.0,))
    (error,) = messages(check_planned(TINY, cascade, tmp_path))
    assert error.startswith(
        "the clips will have 33 frames at 32 frames per second, but protocol shapes-tiny needs 4, 8, 16 frames per "
        "second; protocols that take them are "
    )
    assert messages(check_planned(load_protocol("shapes-tiny-16fps"), slow, tmp_path)) == []
    short = replace(GOOD, frames=5, fps=(6.0,), count=4)
    assert (
        "needs 9 frames and 4, 8, 16 frames per second; no shipped protocol takes them."
        in messages(check_planned(TINY, short, tmp_path))[0]
    )


def test_all_reasons_are_given_at_once(tmp_path: Path) -> None:
    refusals = check_planned(load_protocol("fvd-styleganv-2048x16"), replace(GOOD, count=20), tmp_path)

    parts = ("9 frames", "i3d_torchscript.pt: no such file", "requires 2048 generated clips")
    assert all(part in text for part, text in zip(parts, messages(refusals), strict=True))
    with pytest.raises(UserError, match=r"3 reasons:\n  1\. the clips will have 9 frames"):
        refusals.raise_any("reasons")


def test_numbers_that_need_unknown_facts_are_known_to_have_no_value() -> None:
    lacking = TINY.valueless(frozenset({"prompt"}))

    assert {"law", "flicker", "speed-ratio@8"} <= lacking.keys() and lacking["law"] == ["colour", "shape"]
    assert "shapes-fvd" not in lacking and "shapes-clipsim" not in lacking
    assert "shapes-clipsim" in TINY.valueless(frozenset()) and TINY.valueless(SHAPES) == {}


def test_an_evaluation_decodes_and_hashes_nothing_before_it_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the clips were read")

    monkeypatch.setattr(extraction_module, "read_cut", never)
    monkeypatch.setattr("evaluation.evaluator.with_content", never)
    folder, real = generated(tmp_path / "few", 20), generated(tmp_path / "real", 6, 40, 16.0)

    with pytest.raises(UserError, match=r"^20 generated clips are too few: `shapes-fvd` needs 33; provide at least 33"):
        Evaluation(folder, real, "shapes-tiny", features=tmp_path)


def test_weights_clips_and_prompts_are_refused_in_one_message(tmp_path: Path) -> None:
    protocol = load_protocol("fvd-styleganv-2048x16")
    folder, real = generated(tmp_path / "few", 3), generated(tmp_path / "real", 3)

    with pytest.raises(UserError) as caught:
        Evaluation(folder, real, protocol, features=tmp_path, weights=tmp_path, prompts={"other": "a cat"})
    text = str(caught.value)
    assert text.startswith("3 reasons why this evaluation cannot run:\n  1. ")
    assert "i3d_torchscript.pt: no such file" in text and "prompts do not match" in text and "real video" in text


def test_a_rate_outside_the_protocol_names_those_that_take_it(tmp_path: Path) -> None:
    folder, real = generated(tmp_path / "a", 40, 9, 8.0), generated(tmp_path / "real", 6, 40, 16.0)

    with pytest.raises(UserError) as caught:
        Evaluation(folder, real, "shapes-tiny-16fps", features=tmp_path)
    assert "Protocols that take clips of 9 frames at 8 frames per second: " in str(caught.value)
    assert "shapes-tiny, shapes-tiny-64" in str(caught.value)


@pytest.mark.parametrize("known", [True, False])
def test_results_say_when_a_number_ranks_nothing(tmp_path: Path, known: bool) -> None:
    from evaluation import evaluate

    folder, real = generated(tmp_path / "a", 40), generated(tmp_path / "real", 6, 40, 16.0)
    if known:
        records = [
            ClipRecord(f"{n:03d}", f"{n:03d}.mkv", 8.0, attributes={"colour": "red", "shape": "circle"})
            for n in range(40)
        ]
        write_manifest(folder, records)
    assert TINY.real is not None
    notes = evaluate(folder, real, replace(TINY, real=replace(TINY.real, clips=40)))["notes"]

    ranking = [note for note in notes if "ranks nothing" in note]
    assert len(ranking) == (0 if known else 1)
    if ranking:
        start = "shapes-fvd, shapes-kvd, shapes-fid: measured with"  # 6 real videos are too few to extrapolate from
        assert ranking[0].startswith(start)


def test_results_name_how_few_videos_the_real_clips_are_cut_from(tmp_path: Path) -> None:
    made = [Cut(name, VideoSource(name, tmp_path, content=name), 8.0) for name in "ab"]
    video = VideoSource("film", tmp_path, content="c")
    real = [Cut(f"film#{number}", video, 8.0) for number in range(3)]

    (note,) = clip_notes(made, real, None)

    assert note == (
        "the 3 real clips are cut from 1 video, so what they score is known less well than from as many videos."
    )


def test_results_name_clips_that_are_copies(tmp_path: Path) -> None:
    def cuts(*contents: str) -> list[Cut]:
        return [Cut(name, VideoSource(name, tmp_path, content=name[0]), 8.0) for name in contents]

    assert clip_notes(cuts("a", "b"), cuts("c"), None) == []
    assert clip_notes(cuts("a1", "b1", "a2", "a3", "b2"), [], None) == [
        "3 generated clips with the bytes of another one, first `a2` of `a1`; each counts, so intervals are too narrow."
    ]
    assert clip_notes(cuts("a1", "b1"), cuts("b2", "b3"), None) == [
        "1 generated clip with the bytes of a real one, first `b1` of `b3`; such clips are copies, not samples."
    ]
