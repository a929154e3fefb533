"""Results are compared where that means something, and refused by the field that differs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.comparison import read_results, require_comparable
from evaluation.metrics.kernel import PolynomialKernel, kernel_distance
from evaluation.paired_difference import paired_difference
from evaluation.protocol import load_protocol
from mav_lightning.cli.app import app
from mav_lightning.cli.compare import _best
from mav_lightning.common.errors import UserError


def write(path: Path, fvd: float | None, **changes: Any) -> Path:
    protocol = load_protocol("shapes-tiny").to_dict()
    for key, value in changes.items():
        if key in protocol:
            protocol[key] = value
    metrics = {
        "shapes-fvd": {"value": fvd, "interval": [0.0, 40.0], "n": 288, "better": "lower"},
        "speed-ratio": {"value": 1.3 if fvd and fvd < 20 else 0.9, "interval": None, "n": 280, "better": "one"},
    }
    content = {"protocol": protocol, "metrics": metrics, "real_sha256": changes.get("real_set", "a" * 64)}
    content["n"] = {"generated": changes.get("n", 288), "real": 288}
    content["generated_sha256"] = changes.get("made")
    content["prompts_sha256"] = changes.get("prompts", "c" * 64)
    content["extractors"] = {"video": changes.get("weights", "e" * 64)}
    content |= {key: changes[key] for key in ("versions", "clips", "jackknife") if key in changes}
    path.write_text(json.dumps(content))
    return path


def compared(*paths: Path) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, paths)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_like_results_stand_side_by_side_with_intervals_and_n(tmp_path: Path) -> None:
    printed = compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "b.json", 30.5))
    assert "18 (0 … 40), n 288" in printed and "30.5 (0 … 40), n 288" in printed
    assert "protocol shapes-tiny (" in printed


def test_a_name_in_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "[red]").mkdir()
    printed = compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "[red]" / "b.json", 30.5))
    assert "[red]" in "".join(printed.split())


def test_a_protocols_name_is_no_difference(tmp_path: Path) -> None:
    compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "b.json", 30.5, name="copied"))


def test_a_missing_value_is_shown_as_missing(tmp_path: Path) -> None:
    assert "–" in compared(write(tmp_path / "a.json", None), write(tmp_path / "b.json", 30.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 16}, "they differ in frames: 9 and 16"),
        ({"frames": 16, "seed": 3}, "frames: 9 and 16; seed: 0 and 3"),
        ({"real": None}, "they differ in real"),
        ({"weights": "f" * 64}, "they differ in weights.video: e{64} and f{64}"),
        ({"prompts": None}, "they differ in prompts: cccccccccccccccc and nothing"),
        ({"n": 36}, "they differ in number of clips: 288 and 36"),
        ({"real_set": "b" * 64}, "real clips: aaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbb. Evaluate both under one protocol"),
    ],
)
def test_unlike_results_are_refused_by_what_differs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    read = [read_results(write(tmp_path / "a.json", 1.0)), read_results(write(tmp_path / "b.json", 1.0, **changes))]
    with pytest.raises(UserError, match=message):
        require_comparable(["a.json", "b.json"], read)


def of_metrics(path: Path, *kinds: str, **changes: Any) -> Path:
    return write(path, 18.0, metrics={kind: {"kind": kind} for kind in kinds}, **changes)


MEANS = ("clipsim", "frame-consistency", "ghosts", "lpips", "motion", "psnr", "shapes-world", "ssim")


def test_means_over_other_numbers_of_clips_are_compared_with_a_warning(tmp_path: Path) -> None:
    a, b = of_metrics(tmp_path / "a.json", *MEANS, n=36), of_metrics(tmp_path / "b.json", *MEANS, n=32)
    assert "a.json has 36 clips and" in " ".join((shown := compared(a, b)).split())
    assert "b.json has 32: values are of all clips of each, differences of the clips that both have." in shown


@pytest.mark.parametrize("kind", ["frechet", "kernel", "inception-score", "of_no.package.Metric", "unheard-of"])
def test_one_metric_that_may_depend_on_the_number_of_clips_refuses_others(kind: str, tmp_path: Path) -> None:
    paths = [of_metrics(tmp_path / f"{n}.json", "motion", kind, n=n) for n in (36, 32)]
    with pytest.raises(UserError, match="they differ in number of clips: 36 and 32"):
        require_comparable(["a", "b"], list(map(read_results, paths)))


@pytest.mark.parametrize(("kind", "matters"), [("motion", False), ("frechet", True), ("psnr", True)])
def test_other_real_clips_are_refused_where_a_metric_needs_them(kind: str, matters: bool, tmp_path: Path) -> None:
    read = [read_results(of_metrics(tmp_path / f"{real}.json", kind, real_set=real * 64)) for real in "ab"]
    if matters:
        with pytest.raises(UserError, match="they differ in real clips: a{16} and b{16}"):
            require_comparable(["a", "b"], read)
    else:
        require_comparable(["a", "b"], read)


def test_five_differing_fields_are_named_and_others_counted(tmp_path: Path) -> None:
    own, other = (write(tmp_path / f"{name}.json", 1.0) for name in "ab")
    results = [read_results(path) for path in (own, other)]
    results[1]["protocol"] = load_protocol("own-tiny").to_dict()
    results[1]["extractors"] = {"flow": ""}
    with pytest.raises(UserError) as caught:
        require_comparable(["a", "b"], results)
    assert re.search(r"; and \d+ further fields\. Evaluate both", str(caught.value))
    assert str(caught.value).count(";") == 5 and len(str(caught.value)) < 1200 and "None" not in str(caught.value)


def test_what_is_missing_is_nothing(tmp_path: Path) -> None:
    results = [read_results(write(tmp_path / "a.json", 1.0)) for _ in range(2)]
    results[1]["extractors"] = {"video": "e" * 64, "flow": "f" * 64}
    results[0]["extractors"]["flow"] = ""
    with pytest.raises(UserError, match=r"they differ in weights\.flow: nothing and f{64}\."):
        require_comparable(["a", "b"], results)


def test_what_are_no_results_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UserError, match=r"x\.json: must be a mapping"):
        read_results(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"none\.json: no such file; name a file that `mav evaluate` wrote"):
        read_results(tmp_path / "none.json")
    with pytest.raises(UserError, match="at least 2 files are needed, got 1"):
        CliRunner().invoke(app, ["compare", str(tmp_path / "x.json")], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"protocol": [], "metrics": {}, "n": {}, "real_sha256": null}', "protocol: must be a mapping"),
        ('{"protocol": {}, "metrics": {"a": 1}, "n": {}, "real_sha256": null}', "metrics.a: must be"),
        ('{"protocol": {}, "metrics": {}, "n": {"generated": "x"}, "real_sha256": null}', "n.generated: must be"),
        ('{"protocol": {}, "metrics": {}, "n": {"generated": 1}, "real_sha256": null}', "no `protocol.name`"),
    ],
)
def test_a_damaged_file_is_a_message_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=rf"x\.json.*{message}"):
        read_results(tmp_path / "x.json")


@pytest.mark.parametrize(("better", "best"), [("lower", 1), ("higher", 0), ("one", 2), ("neither", None)])
def test_the_best_is_what_the_metric_says(better: str, best: int | None) -> None:
    assert _best([3.0, 0.2, 1.1, None], better) == best
    assert _best([1.0, 1.0], better) is None


def test_what_moves_no_number_is_no_difference(tmp_path: Path) -> None:
    follows = [{"repository": "https://x.org", "file": "a.py", "lines": None, "commit": None}]
    compared(write(tmp_path / "a.json", 18.0), write(tmp_path / "b.json", 30.5, follows=follows, unknown=["x"]))


def test_other_versions_are_a_warning(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", 18.0, versions={"torch": "2.13.0", "av": "18.1.0"})
    printed = compared(first, write(tmp_path / "b.json", 30.5, versions={"torch": "2.11.0", "av": "18.1.0"}))

    assert "were computed with other versions.torch: 2.13.0 and 2.11.0." in " ".join(printed.split())
    assert "av" not in printed.split("warning")[1]


def test_metrics_of_clips_are_compared_clip_by_clip(tmp_path: Path) -> None:
    """Clips differ a lot, systems hardly: only the pairs show it."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 10, 40)
    clips = [{str(n): {"fps": 8.0, "speed-ratio": own + shift} for n, own in enumerate(base)} for shift in (0.0, 0.5)]
    results = [{"clips": own} for own in clips]

    found = paired_difference("speed-ratio", *results)

    assert found and found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.5, 0.5))
    assert found.kind == "paired over 40 clips"
    assert paired_difference("no-such", *results) is None
    printed = compared(*(write(tmp_path / f"{n}.json", 1.0 + n, clips=own) for n, own in enumerate(clips)))
    assert "+0.5 (+0.5 … +0.5)" in printed


def test_distances_to_the_same_real_clips_are_compared_jointly() -> None:
    """The interval of the difference covers the truth, and is narrower than without the shared real clips."""
    rng, covered, joint_widths, apart_widths = np.random.default_rng(1), 0, [], []
    for _ in range(150):
        real, names = rng.normal(0, 1, (60, 1)), list(range(60))
        jackknives = []
        for shift in (2.0, 2.2):
            made = rng.normal(shift, 1, (60, 1))
            jackknives.append(kernel_distance(made, real, names, names, kernel=PolynomialKernel(1, 0.0))[1])
        results = [{"jackknife": {"kvd": one.to_dict()}} for one in jackknives if one]
        found = paired_difference("kvd", *results)
        assert found and found.interval
        covered += found.interval[0] <= 2.2**2 - 2.0**2 <= found.interval[1]
        joint_widths.append(found.interval[1] - found.interval[0])
        apart = np.hypot(*(one.error for one in jackknives if one))
        apart_widths.append(2 * 2.093 * apart)

    assert 0.88 <= covered / 150 <= 1.0
    assert np.mean(joint_widths) < 0.85 * np.mean(apart_widths)


@pytest.mark.parametrize(
    "other", [{"without": [[1.0] * 5, [1.0] * 4]}, {"without": [[1.0] * 5, []]}, {"without": [[], [1.0] * 5]}]
)
def test_distances_without_the_same_blocks_of_real_clips_have_no_joint_interval(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    jackknives = [{"shapes-fvd": {"value": 1.0, "without": [[1.0] * 5] * 2} | own} for own in ({}, other)]
    files = [write(tmp_path / f"{n}.json", 1.0 + n, jackknife=own) for n, own in enumerate(jackknives)]

    assert "jackknife" not in compared(*files)
    assert "joint jackknife" in compared(files[0], write(tmp_path / "like.json", 3.0, jackknife=jackknives[0]))


def test_results_of_the_same_clips_are_named(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.json", 18.0, made=own) for name, own in zip("abc", "xyx", strict=True)]

    assert "a.json and" not in compared(*files[:2]).replace("\n", "")
    printed = " ".join(compared(*files).split())
    assert re.search(r"warning: \S*a\.json and \S*c\.json are of the same generated clips", printed)
