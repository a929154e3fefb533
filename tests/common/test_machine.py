"""The environment that commands give to PyTorch."""

import os
import sys

import pytest

from mav_lightning.cli.app import main

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_the_threads_of_a_command_wait_briefly_unless_the_user_decides(
    own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mav", "--version"])
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main()
    assert {name: os.environ[name] for name in NAMES if name in os.environ} == (own or {"GOMP_SPINCOUNT": "5000"})
