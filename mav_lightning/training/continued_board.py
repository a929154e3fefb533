"""TensorBoard's folder of a run that resumes: one folder, whose files are read in the order in which they were written.

TensorBoard reads files by name, which begins with the time of their first event, and a file of a resumed run hides what
the files before it hold of later steps.
"""

import re
import time
from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_only

__all__ = ["continue_board"]

_FILE = re.compile(r"events\.out\.tfevents\.(\d+)\.(.+)")


@rank_zero_only
def continue_board(folder: Path) -> None:
    """Prepare the events of a run for a resume.

    A run that was renamed since, and so shows another name, takes its folder along. Files that seem to come from the
    future, since the clock was set back, get a time before now.

    Args:
        folder: Folder of the run's events.
    """
    others = [path for path in folder.parent.glob("*") if path.is_dir()]
    if not folder.exists() and len(others) == 1:
        others[0].rename(folder)
    files = sorted(path for path in folder.glob("*") if _FILE.fullmatch(path.name))
    for number, file in enumerate(files):
        found = _FILE.fullmatch(file.name)
        assert found is not None
        latest = int(time.time()) - len(files) + number
        if int(found[1]) > latest:
            file.rename(file.with_name(f"events.out.tfevents.{latest}.{found[2]}"))
