"""Manifests of clips, as they come from others."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from special_files import SPECIAL, make_huge, make_special

from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, display_only, read_manifest, write_manifest
from mav_lightning.common.schema import read_json

CLIP: dict[str, Any] = {"id": "a", "file": "a.mkv", "fps": 8}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    clips = [ClipRecord("a", "a.mkv", 8.0, "a red circle", {"shape": "circle"}, 3, {"decoder": "0" * 16})]
    write_manifest(tmp_path, clips, {"seed": 3})
    assert read_manifest(tmp_path) == clips


def test_given_frames_are_written_of_clips_that_have_some(tmp_path: Path) -> None:
    clips = [ClipRecord("a", "a.mkv", 8.0, given=[0, 1]), ClipRecord("b", "b.mkv", 8.0)]
    write_manifest(tmp_path, clips)
    assert read_manifest(tmp_path) == clips
    rows = json.loads((tmp_path / "manifest.json").read_text())["clips"]
    assert rows[0]["given"] == [0, 1] and "given" not in rows[1]


def test_keys_that_this_version_does_not_know_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [CLIP | {"later": 1}]}))
    assert read_manifest(tmp_path) == [ClipRecord("a", "a.mkv", 8.0)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"clips": {}}',
        '{"clips": [[]]}',
        '{"clips": [{}]}',
        "[" * 100_000,
        *(
            json.dumps({"clips": [CLIP | wrong]})
            for wrong in (
                {"id": ["a"]}, {"id": None}, {"file": 5}, {"fps": "8"}, {"fps": True}, {"fps": None},
                {"prompt": 5}, {"attributes": 5}, {"attributes": {"shape": 1}}, {"seed": "3"}, {"checkpoints": []},
            )
        ),
        '{"clips": [{"id": "a", "file": "a.mkv", "fps": NaN}]}',
    ],
)  # fmt: skip
def test_other_content_is_one_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"mark": True, "scale": 1}, "the clips have the visible mark"),
        ({"mark": True, "scale": 4}, "the clips were upsampled 4 times for the eye"),
        ({"mark": False, "scale": 1}, None),
        ({"baseline": "static"}, None),
        ([], None),
    ],
)
def test_a_manifest_tells_which_clips_are_for_the_eye(made: Any, reason: str | None, tmp_path: Path) -> None:
    assert display_only(tmp_path) is None, "nothing is known of a folder without a manifest"
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1, "made": made, "clips": []}))
    assert display_only(tmp_path) == reason


@pytest.mark.parametrize(
    "file",
    ["../a.mkv", "/etc/passwd", "//etc/passwd", "b/../../a.mkv", "..", ".", "./", "b/..", "", " ", "a\0.mkv", "\0",
     "\ud800", "/dev/zero", "../../../../../../dev/zero", "/proc/self/environ"],
)  # fmt: skip
def test_a_clip_is_in_the_folder_of_its_manifest(tmp_path: Path, file: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [CLIP | {"file": file}]}))
    with pytest.raises(UserError, match=r"manifest\.json: clips\.0\.file: must be "):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "file", ["b/../a.mkv", "./a.mkv", "a b/猫.mkv", "..a.mkv", "~/a.mkv", "http:/x/a.mkv", "a\udcff"]
)
def test_names_within_the_folder_are_read_whatever_they_look_like(tmp_path: Path, file: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [CLIP | {"file": file}]}))
    (clip,) = read_manifest(tmp_path)
    assert clip.file == os.path.normpath(file)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {}, "clip id `a` appears twice in the manifest; give every clip its own id"),
        ({"id": "\u00e9"}, {"id": "e\u0301"}, "clip id `e\u0301` appears twice"),
        ({}, {"id": "b"}, "file `a.mkv` appears twice in the manifest; list every clip once"),
        ({}, {"id": "b", "file": "./c/../a.mkv"}, "file `a.mkv` appears twice"),
        ({"file": "\u00e9"}, {"id": "b", "file": "e\u0301"}, "file `e\u0301` appears twice"),
    ],
)
def test_a_clip_is_listed_once(tmp_path: Path, first: Any, second: Any, message: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [CLIP | first, CLIP | second]}))
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt": "a\ud800"}, "clips.0.prompt: holds half of a character"),
        ({"prompt": "a\0b"}, "clips.0.prompt: holds a NUL"),
        ({"attributes": {"a\0": "b"}}, "clips.0.attributes: holds a NUL"),
        ({"attributes": {"a": "\udfff"}}, "clips.0.attributes: holds half of a character"),
        ({"id": "\ud83d"}, "clips.0.id: must be a name of UTF-8"),
        ({"id": "\0"}, "clips.0.id: must be a name of UTF-8"),
        ({"id": ""}, "clips.0.id: must be a name of UTF-8"),
        ({"source": "\ud83d"}, "clips.0.source: must be a name of UTF-8"),
        ({"fps": 1e400}, "clips.0.fps: must be a finite number, got inf"),
        ({"fps": -0.0}, "clips.0.fps: must be a finite number ≥ 1e-06 and ≤ 1000000"),
        ({"fps": 1e300}, "clips.0.fps: must be a finite number ≥ 1e-06 and ≤ 1000000"),
        ({"fps": 5e-324}, "clips.0.fps: must be a finite number ≥ 1e-06 and ≤ 1000000"),
    ],
)
def test_what_no_program_can_write_is_no_text(tmp_path: Path, wrong: Any, message: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [CLIP | wrong]}))
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_prompts_are_composed_and_hold_no_marks(tmp_path: Path, encoding: str) -> None:
    content = {"clips": [CLIP | {"prompt": "\ufeffcafe\u0301", "attributes": {"cafe\u0301": "e\u0301"}}]}
    (tmp_path / "manifest.json").write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    (clip,) = read_manifest(tmp_path)
    assert (clip.prompt, clip.attributes) == ("caf\u00e9", {"caf\u00e9": "\u00e9"})


@pytest.mark.parametrize("kind", [*SPECIAL, "folder", "large"])
def test_a_manifest_that_is_no_small_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "manifest.json"
    if kind == "folder":
        path.mkdir()
    else:
        make_huge(path) if kind == "large" else make_special(path, kind)
    with pytest.raises(UserError, match=r"manifest\.json: (no such manifest|1099511627776 bytes, more than the limit)"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.json: (is not|no such file|cannot be read|1099511627776 bytes)"):
        read_json(path, dict)
