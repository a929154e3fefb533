"""Real processes to kill, cheaply: forked from a server that has imported Lightning once."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rank_environments import rank_environments

sys.path.insert(0, str(Path(__file__).parent))  # for `import toy_training`, here and in the processes

import toy_training  # noqa: E402

Launch = Callable[..., int]


@pytest.fixture(scope="session")
def launch() -> Launch:
    """Runs `toy_training.run` in one process per rank; returns the exit code of rank 0, −9 after SIGKILL.

    With `suspended` the other ranks are killed after that.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["toy_training", "pytest"])
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    with pytest.MonkeyPatch.context() as patch:  # the server must find what it preloads
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        multiprocessing.forkserver.ensure_running()  # type: ignore[attr-defined]

    def run(out: Path, ranks: int = 1, suspended: bool = False, **arguments: Any) -> int:
        if ranks > 1:
            arguments["trainer"] = {"devices": ranks, "strategy": "ddp", **arguments.get("trainer", {})}
        processes = [
            context.Process(target=toy_training.run, args=(out,), kwargs={**arguments, "env": environment})
            for environment in rank_environments(ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            if suspended:  # the others cannot end by themselves
                for other in processes[1:]:
                    other.kill()
        assert all(process.exitcode is not None for process in processes), "still running after a minute"
        return int(processes[0].exitcode or 0)

    return run


@pytest.fixture(scope="session")
def undisturbed(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert launch(out) == 0
    return out
