"""What a user gets wrong ends in one message and exit code 2; what they ask for is explained."""

import sys
from pathlib import Path

import pytest

from mav_lightning.cli.app import app, main


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    monkeypatch.setattr(sys, "argv", ["mav", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out + printed.err


WRONG = {
    "an unknown config key": (("config", "stage/clip_tiny.yaml", "module.clip.chanels=3"), "Did you mean `channels`?"),
    "an unknown config": (("config", "stage/clip_tinny.yaml"), "Did you mean `stage/clip_tiny.yaml`?"),
    "no config": (("config",), "no config given; for example"),
    "a need without a folder": (("train", "stage/clip_tiny.yaml"), "add `needs.data=DIR`"),
    "a stage that is no training": (("train", "stage/data_tiny.yaml"), "`mav train` takes the kind train"),
    "a missing data folder": (
        ("train", "stage/clip_tiny.yaml", "needs.data={tmp}/none", "--out", "{tmp}/run"),
        "mav data shapes",
    ),
    "a missing clip checkpoint": (
        ("train", "stage/spatial_tiny.yaml", "needs.data={tmp}", "needs.clip={tmp}/none"),
        "not a trained network",
    ),
    "a missing pipeline": (
        ("generate", "a red circle", "--pipeline", "{tmp}/none", "--out", "{tmp}/o"),
        "no such folder; write a pipeline",
    ),
    "two wishes at once": (
        ("generate", "x", "--animate", __file__, "--out", "{tmp}/o"),
        "got prompts and animate",
    ),
    "no wish": (
        ("generate", "--out", "{tmp}/o"),
        "give either prompts or one of --animate, --interpolate, --extrapolate, --precede, --variation",
    ),
    "no file to inspect": (("inspect", "{tmp}/none.mp4"), "no such file or folder"),
    "an option in the place of a file": (
        ("generate", "--interpolate", __file__, "--out", "{tmp}/o"),
        "--interpolate: --out: an option stands where a file is expected",
    ),
    "a cost of nothing": (("cost", "fit.steps=3"), "got overrides only; name a config"),
    "a missing study": (("ablate", "ablation/quik.yaml"), "Did you mean `ablation/quick.yaml`?"),
    "an unknown stage in a study": (("ablate", "ablation/quick.yaml", "temporel.fit.steps=3"), "temporal"),
    "a missing report folder": (("report", "{tmp}/none"), "no such folder"),
    "an unknown protocol": (
        ("evaluate", "--generated", "{tmp}", "--real", "{tmp}", "--protocol", "shapes-tyni"),
        "shapes-tiny",
    ),
    "a config without a denoiser": (("certify", "stage/clip_tiny.yaml"), "trains no denoiser of frames"),
    "a denoiser that knows no frames": (
        ("certify", "stage/prior_tiny.yaml"),
        "must wrap a SpaceTimeNetwork, got a PriorTransformer",
    ),
    "a missing source of videos": (
        ("data", "pack", "{tmp}/none", "--captions", "{tmp}/none.tsv", "--out", "{tmp}/o"),
        "none",
    ),
    "an empty folder of shards": (("data", "lint", "{tmp}"), "{tmp}"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_message_and_exit_code_2(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = WRONG[mistake]
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, *(word.format(tmp=tmp_path) for word in words))
    assert code == 2, printed
    assert message.format(tmp=tmp_path) in printed.replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in printed


def test_a_training_without_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "{_target_: mav_lightning.modules.decoder.TemporalDecoder, denoiser: '???'}"
    (tmp_path / "half.yaml").write_text(f"name: half\nkind: train\nmodule: {module}\n")
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, "train", "half.yaml")
    assert code == 2 and "half: a training needs `data`; add it to the config." in printed


def test_nothing_is_left_behind_by_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, _ in WRONG.values():
        run(monkeypatch, capsys, *(word.format(tmp=tmp_path) for word in words))
    assert [path.name for path in tmp_path.rglob("*")] == []


@pytest.mark.parametrize("command", ["", *sorted(str(info.name or info.callback.__name__) for info in app.registered_commands if not info.hidden)])  # fmt: skip  # noqa: E501
def test_every_command_explains_itself_with_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(monkeypatch, capsys, *([command] if command else []), "--help")
    assert code == 0
    assert command in ("", "version") or "Example" in printed


def test_help_needs_nothing_heavy() -> None:
    import subprocess

    program = (
        "import sys; from mav_lightning.cli import app\n"
        "print([name for name in ('torch', 'lightning', 'av') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_a_config_prints_what_it_resolves_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(monkeypatch, capsys, "config", "stage/temporal_tiny.yaml", "fit.steps=7")
    assert code == 0
    assert "steps: 7" in printed and "${" not in printed


def test_the_shipped_decoders_are_certified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for config in ("stage/spatial_tiny.yaml", "stage/temporal_tiny.yaml"):
        code, printed = run(monkeypatch, capsys, "certify", config)
        assert code == 0 and "a clip equals its frames: holds" in printed


def test_the_doctor_names_versions_devices_and_decoders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = run(monkeypatch, capsys, "doctor")
    assert code == 0
    for word in ("torch", "clean-fid", "cpu", "h264", "extra dev"):
        assert word in printed
