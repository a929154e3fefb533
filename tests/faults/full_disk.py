"""Commands on disks that are too small, hold too few files or fail: what they print and what they leave.

    python tests/faults/full_disk.py
    python tests/faults/full_disk.py --only generate --disks 20

Each command writes to a small disk, once for each of several sizes and once for each of several numbers of files, so
that every kind of file is the one without room in turn; then on a disk that takes nothing any more (input/output
error), and in processes that may open few files. It must end with exit code 2 and one message that names the place, and
leave no temporary file and no file that differs from what it writes otherwise. Without the fault, the same command must
then succeed, with the same result. Only root can mount the disks. Prints one line per command, and what was wrong.
"""

import argparse
import errno
import filecmp
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / part) for part in ("", "evaluation", "ablation")]

import torch  # noqa: E402
from doll_cascade import NODES, SAMPLING, TEXT  # noqa: E402
from rating_folders import write_system  # noqa: E402
from stub_study import STUB_COMMAND, write_study  # noqa: E402

from datamodules.shapes_world_shards import WriteShapesWorld  # noqa: E402
from mav_lightning.ablation.run import run_study  # noqa: E402
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline  # noqa: E402
from mav_lightning.cli.app import main as run_main  # noqa: E402
from mav_lightning.config import instantiate  # noqa: E402
from mav_lightning.networks.card import Card  # noqa: E402
from mav_lightning.networks.stored import write_network  # noqa: E402
from mav_lightning.runs.executor import Local  # noqa: E402
from mav_lightning.training import fit  # noqa: E402, F401  # imported once, before processes are forked

AMPLE = 1 << 30
PAGE = 4096
HANDLES = 8  # open files in addition to the standard ones, at most
# what differs between two runs that succeed: times and process ids
VOLATILE = ("*lease.json", "*tfevents*", "*cost.json", "*run.json", "out/checkpoints/*", "out/network.json")
_TRAIN = "train stage/clip_tiny.yaml fit.steps=2 fit.checkpoint_every=1 data.batch_size=2 data.cache_mb=0 \
module.clip.width=8 data.workers=0 needs.data=FROM/shapes"
_GENERATE = "generate 'a red circle' 'a blue square' --pipeline FROM/pipeline --out DISK/out"
_CLIPS = "--source FROM/shapes --protocol shapes-tiny"
# Command → its arguments. FROM is the folder that `prepare` filled, DISK the small disk.
COMMANDS = {
    "data shapes": "data shapes --out DISK/out --images 4 --clips 3 --val-images 2 --val-clips 2 --size 16 "
    "--seconds 0.5 --processes 1",
    "data pack": "data pack FROM/videos --captions FROM/videos/captions.tsv --out DISK/out",
    "data show": "data show FROM/shapes --out DISK/sheet.png",
    "data index": "data index DISK/shapes --processes 1",
    "data index --index": "data index FROM/shapes/clips/train --index DISK/out --processes 1",
    "data embed": "data embed DISK/shapes --clip FROM/clip",
    "train": f"{_TRAIN} --out DISK/out",
    "train, logged to CSV": f"{_TRAIN} fit.logger=csv --out DISK/out",
    "pipeline": "pipeline --clip FROM/clip --prior FROM/prior --decoder FROM/decoder --size 8 "
    "--frames 3 --out DISK/out",
    "generate mp4": _GENERATE,
    "generate mkv": f"{_GENERATE} --no-mark",
    "generate gif": f"{_GENERATE} --format gif",
    "generate frames": f"{_GENERATE} --format frames",
    "evaluate": "evaluate --generated FROM/baseline --real FROM/shapes --protocol shapes-tiny --force "
    "--out DISK/results.json --features DISK/features",
    "evaluate --export": "evaluate --generated FROM/ours --export vbench DISK/out",
    "baseline": f"baseline static {_CLIPS} --out DISK/out",
    "motion": "motion FROM/ours --out DISK/motion.json",
    "rate": "rate FROM/ours FROM/theirs --out DISK/out",
    "checkpoint export": "checkpoint export FROM/run --out DISK/out",
    "report": "report FROM/study --out DISK/out",
}
COPIED = {"data index": "shapes", "data embed": "shapes"}  # folder that is on the disk before


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    WriteShapesWorld(images=4, clips=4, val_images=2, val_clips=2, size=16, seconds=4, processes=1).run(
        folder / "shapes"
    )
    for role in TEXT:
        weights = {name: torch.randn_like(value) * 0.2 for name, value in instantiate(NODES[role]).state_dict().items()}
        write_network(folder / role, weights, Card.of(NODES[role]))
    write_pipeline(folder / "pipeline", SAMPLING, NetworkFolders(**{role: folder / role for role in TEXT}))
    for number, name in enumerate(("ours", "theirs")):
        write_system(folder / name, number, ["a", "b"])
    shutil.copytree(folder / "ours", folder / "videos")
    (folder / "videos" / "manifest.json").unlink()
    names = [path.name for path in sorted((folder / "videos").iterdir())]
    (folder / "videos" / "captions.tsv").write_text("\n".join(["file\tcaption", *(f"{n}\ta clip" for n in names)]))
    end = run(f"{_TRAIN} --out FROM/run", folder, folder)
    assert end.code == 0, end.text
    end = run(f"baseline static {_CLIPS} --out FROM/baseline", folder, folder)
    assert end.code == 0, end.text


def write_finished_study(folder: Path) -> None:
    (folder / "files").mkdir()
    study = write_study(folder / "files", ("seeds: [0, 1]", "seeds: [0]"))
    run_study(study, folder / "study", executor=lambda _: Local(command=STUB_COMMAND))


@dataclass
class End:
    """How a command ended: its exit code, and what it printed."""

    code: int
    text: str

    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith("error:")]


def run(command: str, folder: Path, disk: Path, hinder: Callable[[], None] = lambda: None) -> End:
    """Run a command in a forked process, which is hindered first."""
    with tempfile.TemporaryFile() as log:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.argv = ["mav", *shlex.split(command.replace("FROM", str(folder)).replace("DISK", str(disk)))]
                hinder()
                run_main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        log.seek(0)
        return End(os.waitstatus_to_exitcode(status), log.read().decode(errors="replace").replace("\r", "\n"))


class Disk:
    """A disk in memory, mounted in a new folder.

    Args:
        place: The folder.
        copied: Folder that is copied there. None for none.
    """

    def __init__(self, place: Path, copied: Path | None) -> None:
        self.place = place
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={AMPLE}", "none", str(place)], check=True)
        if copied is not None:
            shutil.copytree(copied, place / copied.name)

    def limit(self, size: int = AMPLE, files: int = 0) -> None:
        """Change how many bytes and files fit; 0 files for any number."""
        options = f"remount,size={max(size, PAGE)},nr_inodes={files}"
        subprocess.run(["mount", "-o", options, str(self.place)], check=True)

    def used(self) -> tuple[int, int]:
        """Return bytes and files in use."""
        seen = os.statvfs(self.place)
        return (seen.f_blocks - seen.f_bfree) * seen.f_frsize, sum(1 for _ in self.place.rglob("*")) + 1

    def close(self) -> None:
        """Unmount the disk, and remove the folder."""
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        self.place.rmdir()


def differences(here: Path, reference: Path, complete: bool) -> list[str]:
    """Return the files that differ from the reference; missing ones only if a folder should be complete."""
    found = []
    for path in sorted({p.relative_to(root) for root in (here, reference) for p in root.rglob("*")}):
        one, other = here / path, reference / path
        if any(fnmatch(str(path), pattern) for pattern in VOLATILE) or (one.is_dir() and other.is_dir()):
            continue
        if not one.exists():
            found += [f"{path} is missing"] if complete else []
        elif not other.exists():
            found.append(f"{path} is left over")
        elif one.is_dir() or other.is_dir() or not filecmp.cmp(one, other, shallow=False):
            found.append(f"{path} differs")
    return found


def fail_to_flush() -> None:
    """Let no file reach the disk any more."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.fsync = fail


def allow_open_files(more: int) -> None:
    """Allow this process to have that many files open in addition to the standard ones."""
    os.closerange(3, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 + more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def faults(end: End, told: str, left: list[str]) -> list[str]:
    """Return what is wrong with the end of a command that could not write."""
    wrong = [f"after the failure: {one}" for one in left]
    if end.code != 2 or "Traceback" in end.text:
        wrong.append(f"exit code {end.code}: {' / '.join(end.text.splitlines()[-3:])}")
    if len(end.errors()) != 1 or not ("DISK" in told and "disk" in told or "oo many" in told):
        wrong.append(f"message: {told}")
    return wrong


class Sweep:
    """Runs of one command on disks of several sizes.

    Args:
        command: Arguments of `mav`.
        folder: Folder of everything.
        copied: Folder that is on the disk before. None for none.
    """

    def __init__(self, command: str, folder: Path, copied: Path | None) -> None:
        self.command, self.folder, self.copied = command, folder, copied
        self.seen, self.wrong = Counter[str](), Counter[str]()

    def on_disks(self, number: int) -> None:
        """Run the command on that number of disks of several sizes, and of several numbers of files."""
        disk = self._disk()
        begun = disk.used()
        end = run(self.command, self.folder, disk.place)
        assert end.code == 0, end.text
        full = disk.used()
        reference = self.folder / "reference"
        shutil.copytree(disk.place, reference, symlinks=True)
        disk.close()
        parts = [part / number for part in range(number)]
        for size in sorted({begun[0] + PAGE * round((full[0] - begun[0]) / PAGE * part) for part in parts}):
            self._attempt(reference, size=size)
        for files in sorted({begun[1] + 1 + round((full[1] - begun[1]) * part) for part in parts}):
            self._attempt(reference, files=files)
        for hinder in (fail_to_flush, *(partial(allow_open_files, more) for more in range(1, HANDLES + 1))):
            self._attempt(reference, hinder=hinder)
        shutil.rmtree(reference)

    def _disk(self) -> Disk:
        return Disk(self.folder / "disk", self.copied)

    def _attempt(
        self, reference: Path, size: int = AMPLE, files: int = 0, hinder: Callable[[], None] = lambda: None
    ) -> None:
        disk = self._disk()
        disk.limit(size, files)
        end = run(self.command, self.folder, disk.place, hinder)
        if end.code == 0:
            told, wrong = "succeeded", []
        else:
            told = (end.errors() or ["(no message)"])[0].replace(str(disk.place), "DISK")
            wrong = faults(end, told, differences(disk.place, reference, complete=False))
        self.seen[told] += 1
        disk.limit()
        if (end := run(self.command, self.folder, disk.place)).code and told != "succeeded":
            wrong.append(f"again: exit code {end.code}: {' / '.join(end.text.splitlines()[-3:])}")
        else:
            wrong += [f"again: {one}" for one in differences(disk.place, reference, complete=True)]
        for one in wrong:
            self.wrong[one.replace(str(disk.place), "DISK")] += 1
        disk.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=[""], help="commands with one of these in their names")
    parser.add_argument("--disks", type=int, default=8, help="number of disks of each kind")
    parser.add_argument("--verbose", action="store_true", help="print all messages")
    options = parser.parse_args()
    chosen, wrong = [name for name in COMMANDS if any(part in name for part in options.only)], 0
    with tempfile.TemporaryDirectory() as place:
        prepare(folder := Path(place))
        if "report" in chosen:
            write_finished_study(folder)
        for name in chosen:
            sweep = Sweep(COMMANDS[name], folder, folder / COPIED[name] if name in COPIED else None)
            sweep.on_disks(options.disks)
            failed, wrong = sweep.seen.total() - sweep.seen["succeeded"], wrong + sweep.wrong.total()
            print(f"{name}: failed in {failed} of {sweep.seen.total()}; wrong: {sweep.wrong.total()}", flush=True)
            for line, count in [*sweep.wrong.most_common(), *(sweep.seen.most_common() if options.verbose else [])]:
                print(f"    {count} times {line}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
