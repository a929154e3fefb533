import json
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.lease import claim
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.stage_folder import Stage, StageFolder

DATA = Stage.of("data", {"kind": "data"}, {})
CLIP = Stage.of("clip", {"kind": "train", "seed": 0}, {"data": DATA.id})


def test_what_a_stage_is_never_changes_once_written(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "stage")
    folder.create(DATA)
    with pytest.raises(UserError, match=f"describes stage {DATA.id}, not {CLIP.id}"):
        folder.create(CLIP)

    assert folder.read_stage() == DATA


def test_needed_stages_are_found_beside_by_their_ids(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for stage in (DATA, CLIP):
        ledger.folder(stage).create(stage)

    assert ledger.folder(CLIP).needed() == {"data": ledger.folder(DATA).path}


def test_a_stage_that_is_needed_and_gone_is_named(tmp_path: Path) -> None:
    folder = Ledger(tmp_path).folder(CLIP)
    folder.create(CLIP)

    with pytest.raises(UserError, match=rf"`needs.data` \({DATA.id}\) has no folder in .*; run the study again"):
        folder.needed()


def test_a_folder_without_a_stage_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage.json here; give a folder that `mav ablate` made"):
        StageFolder(tmp_path).read_stage()


def test_a_stage_made_under_another_name_is_reused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.folder(DATA).create(DATA)
    renamed = Stage.of("shards", DATA.config, {})

    assert ledger.folder(renamed).path == ledger.folder(DATA).path


def test_the_state_follows_the_folder(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    folder = ledger.folder(DATA)
    assert ledger.state(DATA) is State.PENDING
    folder.create(DATA)
    assert ledger.state(DATA) is State.PENDING
    lease = claim(folder.path)
    assert lease is not None
    assert ledger.state(DATA) is State.RUNNING
    lease.release()
    assert ledger.state(DATA) is State.STALE
    write_json(folder.failed_file, {})
    assert ledger.state(DATA) is State.FAILED
    write_json(folder.done_file, {})
    assert ledger.state(DATA) is State.DONE


def test_the_end_of_a_log_survives_progress_bars_and_broken_bytes(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path)
    assert folder.last_log_lines() == []
    folder.log_file.write_bytes(b"10 %\r20 %\r\n\n\xff\nlast\n" + b"")

    assert folder.last_log_lines(2) == ["\ufffd", "last"]


def test_a_json_file_is_replaced_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})

    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
