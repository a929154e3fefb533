"""A study asks for numbers that its protocol gives, in the direction that they have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import Plan
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError

Write = Callable[..., Path]


def plan(tmp_path: Path, *lines: str) -> Plan:
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(["extends: ablation/quick.yaml", "seeds: [0]", *lines]))
    return load_plan(file)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "{name: shapes-fvdd, better: lower}",
            "mine: metric `shapes-fvdd`: protocol shapes-tiny gives no such number; it gives "
            "shapes-fvd, shapes-fvd-inf, shapes-kvd,",
        ),
        (
            "{name: shapes-fvd, better: higher}",
            "mine: metric `shapes-fvd`: `better` is higher, but of this number lower is better; write {name: "
            "shapes-fvd, better: lower}.",
        ),
        ("{name: speed-ratio@8, better: higher}", "`better` is higher, but of this number one is better"),
        ("{name: speed-ratio@9, better: one}", "Did you mean `speed-ratio@"),
    ],
)
def test_a_metric_that_will_not_be_there_is_reported_before_anything_runs(
    tmp_path: Path, metric: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(tmp_path, f"metrics: [{{name: law, better: higher}}, {metric}]")

    assert message in str(caught.value)


def test_the_protocol_of_the_study_says_which_metrics_there_are(tmp_path: Path) -> None:
    only = "metrics: [{name: fid-clean, better: lower}, {name: fid-clean-inf, better: lower}]"

    with pytest.raises(UserError) as caught:
        plan(tmp_path, "protocol: fid-clean", only)
    told = str(caught.value)
    assert told.startswith("2 reasons why the clips could not be scored:\n  1. mine: the clips will have 9 frames")
    assert "protocol fid-clean needs 16 frames" in told and "no such file" in told, "but it has the metrics"
    with pytest.raises(UserError, match="metric `fid-clean`: protocol shapes-tiny gives no such number"):
        plan(tmp_path, only)


def test_at_each_rate_of_the_protocol_there_is_a_number(tmp_path: Path) -> None:
    asked = ", ".join(f"{{name: speed-ratio@{fps}, better: one}}" for fps in (4, 8, 16))

    assert len(plan(tmp_path, f"metrics: [{asked}]").study.metrics) == 3


def test_without_a_protocol_any_metric_may_be_asked_for(write_study: Write) -> None:
    study = load_plan(write_study(("shapes-fvd", "a-number-of-ones-own"))).study

    assert study.metrics[0].name == "a-number-of-ones-own"


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Plan]:
    """Plans the study on own data, with four prompts."""
    shards, prompts = tmp_path / "shards", tmp_path / "prompts.txt"
    WriteShapesWorld(images=2, clips=2, val_images=2, val_clips=4, processes=1).run(shards)
    prompts.write_text("a cat\na dog\na person surfing\na horse race\n")

    def load(*overrides: str, lines: str = "") -> Plan:
        study = tmp_path / "mine.yaml"
        study.write_text(f"extends: ablation/own.yaml\nseeds: [0]\n{lines}")
        return load_plan(study, [f"data.task.root={shards}", f"sample.task.prompts={prompts}", *overrides])

    return load


def test_the_shipped_study_on_own_data_can_be_scored(own: Callable[..., Plan]) -> None:
    assert [metric.name for metric in own().study.metrics] == ["warped-flicker", "temporal-consistency"]


def test_a_metric_without_a_value_on_own_data_is_refused_with_those_that_have_one(own: Callable[..., Plan]) -> None:
    with pytest.raises(UserError) as caught:
        own(lines="protocol: shapes-tiny\nmetrics: [{name: flicker, better: lower}, {name: shapes-kvd, better: lower}]")

    assert str(caught.value) == (
        "mine: metric `flicker` has no value on these clips: it needs the ground-truth colour and shape of each, "
        "which is not known; metrics of protocol shapes-tiny that have one are shapes-fvd, shapes-fvd-inf, "
        "shapes-kvd, shapes-fid, shapes-fid-inf, shapes-clipsim."
    )


def test_a_study_with_too_few_clips_is_refused_before_it_trains(own: Callable[..., Plan]) -> None:
    lines = "protocol: shapes-tiny\nmetrics: [{name: shapes-fvd, better: lower}]"
    with pytest.raises(UserError) as caught:
        own(lines=lines)

    assert str(caught.value) == (
        "mine: 8 clips (4 prompts × per_prompt 2 × 1 frame rate) are too few: `shapes-fvd` needs 33; set "
        "`sample.task.per_prompt` to 9 or more, or measure other metrics."
    )
    assert own("sample.task.per_prompt=9", lines=lines)


def test_frames_and_rates_of_one_variant_are_refused_by_its_name(own: Callable[..., Plan]) -> None:
    with pytest.raises(UserError) as caught:
        own(lines="variants: {fast: {sample.task.fps: [12]}, short: {sample.task.sampling.frames: 5}}")

    told = str(caught.value)
    assert (
        "\n  1. mine, `fast`: the clips will have 9 frames at 12 frames per second, but protocol own-tiny needs 8"
        in told
    )
    assert "mine, `short`: the clips will have 5 frames at 8 frames per second, but protocol own-tiny needs 9" in told


def test_real_videos_that_are_too_short_are_refused_before_anything_trains(
    own: Callable[..., Plan], tmp_path: Path
) -> None:
    fields = (conf_root() / "protocol" / "own-tiny.yaml").read_text().replace("frames: 9", "frames: 900")
    long = tmp_path / "long.yaml"
    long.write_text(fields)

    with pytest.raises(UserError, match="the longest real video has .* but 900 frames at 8 fps need"):
        own("sample.task.sampling.frames=900", lines=f"protocol: {long}")
