"""A study asks for numbers that its protocol gives, in the direction that they have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mav_lightning.ablation.run import load_plan
from mav_lightning.ablation.study_plan import Plan
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

    assert plan(tmp_path, "protocol: fid-clean", only).study.protocol == "fid-clean"
    with pytest.raises(UserError, match="metric `fid-clean`: protocol shapes-tiny gives no such number"):
        plan(tmp_path, only)


def test_at_each_rate_of_the_protocol_there_is_a_number(tmp_path: Path) -> None:
    asked = ", ".join(f"{{name: speed-ratio@{fps}, better: one}}" for fps in (4, 8, 16))

    assert len(plan(tmp_path, f"metrics: [{asked}]").study.metrics) == 3


def test_without_a_protocol_any_metric_may_be_asked_for(write_study: Write) -> None:
    study = load_plan(write_study(("shapes-fvd", "a-number-of-ones-own"))).study

    assert study.metrics[0].name == "a-number-of-ones-own"
