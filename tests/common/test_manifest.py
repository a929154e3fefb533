"""Manifests of clips, as they come from others."""

import json
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, display_only, read_manifest, write_manifest

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
