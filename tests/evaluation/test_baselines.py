"""Floors and ceilings: what is written, and what a protocol makes of it."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from datamodules.shapes_world_shards import WriteShapesWorld
from evaluation import Protocol, baselines, evaluate, load_protocol
from evaluation.baselines import WriteFloor, write_baseline, write_nearest
from evaluation.folders import open_clips
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, read_manifest
from mav_lightning.common.shapes_world.scene import Scene, caption
from mav_lightning.common.tracking import untracked
from mav_lightning.common.video_encoding import encode_mp4, write_lossless
from mav_lightning.media.media_reader import read_frames

_SHIPPED = load_protocol("shapes-tiny")
assert _SHIPPED.real is not None
PROTOCOL = replace(_SHIPPED, real=replace(_SHIPPED.real, clips=48))


def only(metric: str, extractor: str) -> Protocol:
    extractors = {extractor: PROTOCOL.extractors[extractor]}
    return replace(PROTOCOL, metrics={metric: PROTOCOL.metrics[metric]}, extractors=extractors)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Shapes World: two and a half seconds at 16 fps."""
    root, small = tmp_path_factory.mktemp("world") / "shapes", {"images": 1, "val_images": 1, "processes": 1}
    WriteShapesWorld(clips=48, val_clips=36, size=32, seconds=2.5, fps=16, **small).run(root)
    return root


@pytest.fixture
def ramps(tmp_path: Path) -> Path:
    """Six videos of which frame t is of grey level 5 t."""
    folder = tmp_path / "ramps"
    folder.mkdir()
    for number in range(6):
        write_lossless(folder / f"{number}.mkv", ramp(40), 16.0)
    return folder


def ramp(frames: int) -> NDArray[np.uint8]:
    return np.broadcast_to((5 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, 16, 16, 3)).copy()


def levels(folder: Path) -> dict[str, list[int]]:
    """Clip → the grey levels of its frames."""
    return {clip.id: read_frames(folder / clip.file)[:, 0, 0, 0].tolist() for clip in read_manifest(folder)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_static_clips_hold_the_first_frame(tmp_path: Path, ramps: Path) -> None:
    count = write_baseline("static", ramps, PROTOCOL, tmp_path / "out")

    found = levels(tmp_path / "out")
    assert count == 6 and list(found) == ["0", "1", "2", "3", "4", "5"]
    assert all(len(own) == 9 and len(set(own)) == 1 for own in found.values())
    assert len({own[0] for own in found.values()}) > 1  # they begin anywhere


def test_shuffled_clips_have_the_same_frames_in_another_order(tmp_path: Path, ramps: Path) -> None:
    write_baseline("shuffled", ramps, PROTOCOL, tmp_path / "out")

    rates = {clip.id: clip.fps for clip in read_manifest(tmp_path / "out")}
    orders = levels(tmp_path / "out")
    for name, own in orders.items():
        assert own != sorted(own)
        assert set(np.diff(sorted(own)).tolist()) == {5 * 16 / rates[name]}
    assert len({tuple(np.argsort(own)) for own in orders.values()}) == 6
    assert Counter(rates.values()) == {4.0: 2, 8.0: 2, 16.0: 2}


@pytest.mark.parametrize("seed", range(20))
def test_two_frames_are_always_swapped(seed: int) -> None:
    assert baselines._order(2, np.random.default_rng(seed)) == [1, 0]


def test_videos_are_used_again_at_other_times_where_more_clips_are_asked_for(tmp_path: Path, ramps: Path) -> None:
    write_baseline("static", ramps, PROTOCOL, tmp_path / "out", clips=12)

    assert list(levels(tmp_path / "out")) == [f"{number:02}" for number in range(12)]
    used = Counter(clip.source for clip in read_manifest(tmp_path / "out"))
    assert used == {f"{number}.mkv": 2 for number in range(6)}


def test_what_is_known_of_the_source_is_kept(tmp_path: Path, shapes: Path) -> None:
    write_baseline("static", shapes, PROTOCOL, tmp_path / "out", clips=5)

    known = {source.id: source for source in open_clips(shapes, "train")}
    for clip in read_manifest(tmp_path / "out"):
        assert clip.attributes == known[str(clip.source)].attributes != {}
    made = json.loads((tmp_path / "out" / MANIFEST).read_text())["made"]
    assert made == {"baseline": "static", "protocol": "shapes-tiny", "protocol_hash": PROTOCOL.hash, "seed": 0}


def test_halves_share_no_group(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(6):
        write_lossless(films / f"{number}.mkv", ramp(40), 16.0)
    sources = [replace(one, group=f"film {number // 2}") for number, one in enumerate(open_clips(films))]

    halves = [baselines._halves(sources, films, np.random.default_rng(seed)) for seed in range(5)]

    for mine, others in halves:
        assert not {one.group for one in mine} & {one.group for one in others}
        assert sorted(one.id for one in (*mine, *others)) == [one.id for one in sources]
    assert len({tuple(one.id for one in mine) for mine, _ in halves}) > 1


def test_the_two_sides_of_the_ceiling_share_no_video_and_have_like_rates(tmp_path: Path, ramps: Path) -> None:
    count = write_baseline("real", ramps, PROTOCOL, tmp_path / "out", clips=9)

    generated, real = (read_manifest(tmp_path / "out" / side) for side in ("generated", "real"))
    assert (len(generated), len(real), count) == (9, 48, 57)
    assert not {clip.source for clip in generated} & {clip.source for clip in real}
    assert Counter(clip.fps for clip in generated) == {4.0: 3, 8.0: 3, 16.0: 3}
    assert Counter(clip.fps for clip in real) == {4.0: 16, 8.0: 16, 16.0: 16}


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_the_same_seed_writes_the_same_bytes_and_another_others(tmp_path: Path, ramps: Path, kind: str) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_baseline(kind, ramps, PROTOCOL, tmp_path / name, seed=seed)

    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    pixels = {name: sorted(own for path, own in contents(tmp_path / name).items() if "mkv" in path) for name in "ac"}
    assert pixels["a"] != pixels["c"]


def test_under_a_stride_the_frames_between_are_written_too(tmp_path: Path, ramps: Path) -> None:
    strided = replace(only("shapes-clipsim", "text"), fps=None, stride=3, frames=5, real=None)

    write_baseline("real", ramps, strided, tmp_path / "out")

    for side in ("generated", "real"):
        found = levels(tmp_path / "out" / side)
        assert len(found) == 3
        assert all(np.diff(own).tolist() == [5] * 12 for own in found.values())
        assert {clip.fps for clip in read_manifest(tmp_path / "out" / side)} == {16.0}


def test_nearest_finds_what_a_prompt_asks_for(tmp_path: Path, shapes: Path) -> None:
    known = {source.id: source.attributes for source in open_clips(shapes, "train")}
    wanted = {f"../{number}": dict(known[name]) for number, name in enumerate(list(known)[:24])}
    prompts = {name: caption(Scene(**own), number) for number, (name, own) in enumerate(wanted.items())}

    count = write_nearest(shapes, PROTOCOL, tmp_path / "out", prompts, features=tmp_path / "features")

    clips = read_manifest(tmp_path / "out")
    assert count == 24 and {clip.id: clip.prompt for clip in clips} == prompts
    assert all(clip.attributes == {} for clip in clips)
    assert sum(known[str(clip.source)] == wanted[clip.id] for clip in clips) >= 20
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, *(f"{n:02}.mkv" for n in range(24))}


def test_nearest_extracts_nothing_twice(tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {"features": tmp_path / "features", "clips": 12}
    write_nearest(shapes, PROTOCOL, tmp_path / "a", {"x": "a red circle"}, **folders)
    monkeypatch.setattr(baselines.Extraction, "take", lambda *_: pytest.fail("extracted again"))

    write_nearest(shapes, PROTOCOL, tmp_path / "b", {"x": "a red circle"}, **folders)

    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_studys_floor_is_the_baseline_of_its_seed(tmp_path: Path, shapes: Path) -> None:
    floor = WriteFloor("shuffled", shapes, "shapes-tiny", 12)
    for name, seed in (("a", 3), ("b", 4)):
        floor.run(tmp_path / name, seed=seed, track=untracked)
    write_baseline("shuffled", shapes, _SHIPPED, tmp_path / "same", seed=3, clips=12)

    assert contents(tmp_path / "a" / "clips") == contents(tmp_path / "same")
    floor.run(tmp_path / "a", seed=3, track=untracked)  # killed before it was marked done
    assert contents(tmp_path / "a" / "clips") == contents(tmp_path / "same")
    assert contents(tmp_path / "b" / "clips") != contents(tmp_path / "same")


def test_killed_it_leaves_nothing(tmp_path: Path, ramps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, *rest: Any) -> None:
        if path.stem == "3":
            raise KeyboardInterrupt
        write_lossless(path, *rest)

    monkeypatch.setattr(baselines, "write_lossless", killed)
    with pytest.raises(KeyboardInterrupt):
        write_baseline("static", ramps, PROTOCOL, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["ramps"]


def test_what_cannot_be_done_is_told(tmp_path: Path, ramps: Path) -> None:
    out, one = tmp_path / "out", replace(PROTOCOL, frames=1)
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "a.mkv").write_bytes((ramps / "0.mkv").read_bytes())

    with pytest.raises(UserError, match=r"no baseline `statik`; known are static, shuffled.*Did you mean `static`\?"):
        write_baseline("statik", ramps, PROTOCOL, out)
    with pytest.raises(UserError, match=r"shuffled: protocol shapes-tiny has clips of a single frame"):
        write_baseline("shuffled", ramps, one, out)
    with pytest.raises(UserError, match=r"needs videos of 2 groups, but all 1 are of group `a.mkv`"):
        write_baseline("real", lone, PROTOCOL, out)
    with pytest.raises(UserError, match=r"longest real video has 40 frames at 16 fps, but 90 frames at 8 fps need"):
        write_baseline("static", ramps, replace(PROTOCOL, frames=90), out)
    with pytest.raises(UserError, match=r"clips: must be a whole number above 0.*got 0"):
        write_baseline("static", ramps, PROTOCOL, out, clips=0)
    with pytest.raises(UserError, match=r"ramps: already holds something"):
        write_baseline("static", ramps, PROTOCOL, ramps)
    deaf = only("shapes-kvd", "video")
    with pytest.raises(UserError, match=r"no extractor that embeds texts; use one with .* clip or shapes-clip"):
        write_nearest(ramps, deaf, out, {"x": "a red circle"})
    assert not out.exists()


def test_videos_that_cannot_be_read_are_named_and_counted(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    whole = encode_mp4(np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8), 16)
    middle = whole.index(b"mdat") + 200
    damaged = whole[:middle] + bytes(len(whole[middle:-4000])) + whole[-4000:]
    for name, data in (("a", whole), ("b", damaged), ("c", damaged)):
        (films / f"{name}.mp4").write_bytes(data)

    with pytest.raises(UserError, match=r"2 of 3 real videos cannot be measured: `b.mp4`: .*`c.mp4`: .*Fix or remove"):
        write_baseline("static", films, PROTOCOL, tmp_path / "out", clips=9)
    assert not (tmp_path / "out").exists()


def test_the_command_asks_for_prompts_where_they_are_needed(tmp_path: Path, ramps: Path) -> None:
    words = ["--source", str(ramps), "--protocol", "shapes-tiny", "--out", str(tmp_path / "out")]
    (tmp_path / "prompts.tsv").write_text("id\tprompt\nx\ta red circle\n")
    given = ["--prompts", str(tmp_path / "prompts.tsv")]

    for wrong, told in (
        (["nearest", *words], "nearest needs a table id<TAB>prompt"),
        (["static", *words, *given], "only nearest uses prompts, not static"),
    ):
        failed = CliRunner().invoke(app, ["baseline", *wrong])
        assert isinstance(failed.exception, UserError) and told in str(failed.exception)
    for wrong, option in ((["static", *words, "--split", "test"], "--split"), (["stattic", *words], "stattic")):
        failed = CliRunner().invoke(app, ["baseline", *wrong])
        assert failed.exit_code == 2 and option in failed.output

    done = CliRunner().invoke(app, ["baseline", "nearest", *words, *given, "--features", str(tmp_path / "features")])
    assert done.exit_code == 0, done.output
    assert [(clip.id, clip.prompt) for clip in read_manifest(tmp_path / "out")] == [("x", "a red circle")]


def test_floors_and_ceiling_are_in_the_order_that_must_hold(tmp_path: Path, shapes: Path) -> None:
    for kind in ("static", "shuffled", "real"):
        write_baseline(kind, shapes, PROTOCOL, tmp_path / kind, clips=48)
    kept = {"features": tmp_path / "features"}

    floors = [evaluate(tmp_path / kind, shapes, PROTOCOL, **kept)["metrics"] for kind in ("static", "shuffled")]
    ceiling = evaluate(tmp_path / "real" / "generated", tmp_path / "real" / "real", PROTOCOL, **kept)["metrics"]

    for floor in floors:
        assert floor["shapes-fvd"]["value"] > 2 * ceiling["shapes-fvd"]["value"]
        assert floor["law"]["value"] == 0.0
        assert floor["shapes-fid"]["value"] < ceiling["shapes-fid"]["value"]  # frames do not tell, fewer scenes do
    assert ceiling["law"]["value"] == 1.0
    assert ceiling["shapes-kvd"]["interval"][0] < 0 < ceiling["shapes-kvd"]["interval"][1]
