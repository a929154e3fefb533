"""The command line as tests call it, and clips to call it with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mav_lightning.cli.app import main
from mav_lightning.common.video_encoding import write_lossless

Run = Callable[..., tuple[int, str]]


def noise_clips(folder: Path) -> Path:
    """Six clips of four frames, none of whose pixels is white."""
    folder.mkdir()
    for number in range(6):
        frames = np.random.default_rng(number).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
        write_lossless(folder / f"{number}.mkv", frames, 25.0)
    return folder


def evaluator(paths: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls ``mav evaluate`` with these options and more, later ones first; gives exit code and what was printed."""

    def evaluate(*options: str) -> tuple[int, str]:
        words = [str(word) for pair in paths.items() for word in pair]
        monkeypatch.setattr("sys.argv", ["mav", "evaluate", *words, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        code = int(ended.value.code or 0)
        assert "Traceback" not in told.err
        assert Path(str(paths["--out"])).exists() == (code == 0)
        return code, " ".join((told.out + told.err).split())

    return evaluate
