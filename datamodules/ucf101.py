"""UCF-101 as published: one folder per class, and three official splits that keep each source video on one side.

References:
    UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild (Soomro et al., 2012), arXiv:1212.0402.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from datamodules.annotations import Annotations, Row
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.tables import read_table
from mav_lightning.common.text_files import read_lines

__all__ = ["SPLITS", "class_words", "read_class_frequencies", "read_class_prompts", "read_ucf101"]

SPLITS = (1, 2, 3)
_NAME = re.compile(r"(?P<label>[^/]+)/(?P<group>v_\w+_g\d+)_c\d+\.avi")
_LISTS = "give the folder ucfTrainTestlist, with classInd.txt, trainlist01.txt, testlist01.txt and so on"


def read_ucf101(lists: Path, files: Sequence[str], *, split: int = 1, prompts: Path | None = None) -> Annotations:
    """Read an official split for files named ``Class/v_Class_gNN_cNN.avi``; its test side becomes ``val``.

    Files are matched by exact name, or else ignoring case: the class ``HandstandPushups`` holds
    ``v_HandStandPushups_…``, which some copies have fixed.

    Args:
        lists: The folder ucfTrainTestlist.
        files: Names of the existing files, relative to the folder of the class folders.
        split: One of `SPLITS`.
        prompts: Table of one prompt per class; see `read_class_prompts`. None uses the words of the class name.

    Raises:
        UserError: The split is unknown, the lists are missing or contradictory, a class has no prompt, or no listed
            file exists.
    """
    if split not in SPLITS:
        raise UserError(f"must be one of {', '.join(map(str, SPLITS))}, got {split}.", argument="split")
    classes = _read_classes(lists / "classInd.txt")
    captions = _captions(classes, prompts)
    listed: dict[str, Row] = {}
    sides: dict[str, str] = {}
    for side, file in (("train", f"trainlist{split:02d}.txt"), ("val", f"testlist{split:02d}.txt")):
        for name, row in _read_list(lists / file, classes, captions):
            if sides.setdefault(name, side) != side:
                raise UserError(
                    f"{lists / file}: `{name}` is in both the training and the test list; download the official files."
                )
            listed[name] = row
    found = _match(files, listed)
    if not found:
        raise UserError(
            f"{lists}: none of the {len(listed)} files of split {split} exists; pack the folder that holds the class "
            "folders, such as Archery/v_Archery_g01_c01.avi."
        )
    unlisted = [file for file in files if file not in found]
    there = set(found.values())
    return Annotations(
        rows={file: listed[name] for file, name in found.items()},
        splits={file: sides[name] for file, name in found.items()},
        left_out={f"not in split {split}": unlisted} if unlisted else {},
        absent=[name for name in listed if name not in there],
    )


def read_class_prompts(path: Path) -> dict[str, str]:
    """Read class → prompt from a table with the columns ``class_name`` and ``prompt``.

    Lines that begin with ``# `` are skipped, and the header may begin with ``#``.

    Raises:
        UserError: The table or a column is missing, or a class is listed twice or without a prompt.
    """
    prompts: dict[str, str] = {}
    for number, cells in read_table(path, "list of prompts", ("class_name", "prompt"), needed=2, comment="# "):
        label, prompt = cells["class_name"], cells["prompt"]
        if label in prompts or not prompt:
            fault = "twice" if label in prompts else "without a prompt"
            raise UserError(f"{path}: line {number} has the class `{label}` {fault}; write one prompt for each class.")
        prompts[label] = prompt
    return prompts


def read_class_frequencies(path: Path) -> dict[str, int]:
    """Count the videos of each class in an official list, for example ``trainlist01.txt``.

    Raises:
        UserError: The list is missing, empty, or has a line of another form.
    """
    names = [line.split()[0] for _, line in read_lines(path, f"no such file; {_LISTS}") if line.strip()]
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong or not names:
        got = f"`{wrong}`" if wrong else "an empty file"
        raise UserError(f"{path}: must list files such as Archery/v_Archery_g01_c01.avi, got {got}; {_LISTS}.")
    return dict(Counter(name.split("/")[0] for name in names))


def class_words(label: str) -> str:
    """Return a class name as words: ``HandstandPushups`` → ``handstand pushups``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower()


def _read_classes(path: Path) -> dict[str, str]:
    """Read class → number, as written."""
    cells = [line.split() for _, line in read_lines(path, f"no such file; {_LISTS}") if line.strip()]
    if wrong := next((line for line in cells if len(line) != 2), None):
        raise UserError(f"{path}: `{' '.join(wrong)}` is not a number and a class; get the official file.")
    return {label: number for number, label in cells}


def _read_list(path: Path, classes: dict[str, str], captions: dict[str, str]) -> Iterator[tuple[str, Row]]:
    """Yield the files of one side of a split; a training list also holds the number of each file's class."""
    for number, line in read_lines(path, f"no such file; {_LISTS}"):
        name, *index = line.split() or [""]
        if not name:
            continue
        match = _NAME.fullmatch(name)
        if not match or (label := match["label"]) not in classes:
            raise UserError(
                f"{path}: line {number}, `{name}`, is not of the form Class/v_Class_g01_c01.avi with a class of "
                "classInd.txt; get the official file."
            )
        if index and index[0] != classes[label]:
            raise UserError(
                f"{path}: line {number} gives the class {label} the number {index[0]}, classInd.txt {classes[label]}; "
                "use files of one release."
            )
        yield name, Row(captions[label], label, match["group"])


def _captions(classes: Collection[str], prompts: Path | None) -> dict[str, str]:
    if prompts is None:
        return {label: class_words(label) for label in classes}
    captions = read_class_prompts(prompts)
    if missing := [label for label in classes if label not in captions]:
        raise UserError(
            f"{prompts}: has no prompt for {len(missing)} of {len(classes)} classes, such as `{missing[0]}`; add them.",
            suggestion=nearest(missing[0], captions),
        )
    return captions


def _match(files: Sequence[str], listed: Collection[str]) -> dict[str, str]:
    """Return file → listed name; each listed name is matched once."""
    found = {file: file for file in files if file in listed}
    others = {name.casefold(): name for name in listed if name not in found}
    for file in files:
        if file not in found and (name := others.pop(file.casefold(), None)):
            found[file] = name
    return found
