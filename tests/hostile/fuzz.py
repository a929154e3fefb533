"""Fuzz everything that is read from a folder somebody shared, and the user's own configs and studies.

Each round mutates one valid file, by values or by bytes, and reads it the way the commands do. Only a `UserError` may
come out. An audit hook records what Python does meanwhile: no import of a module that was not there before, no file
opened for writing, no process, no socket.

Run it for ten minutes: ``cd tests; python -m hostile.fuzz 600``, or for shards, tables, texts and media alone, with
seed 1:
``python -m hostile.fuzz 600 1 data,media``.
"""

import copy
import json
import logging
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hostile.dataset_files import Case, shard_cases
from hostile.media_files import media_cases

from mav_lightning.common.errors import UserError
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, -0.0, 1.5, float("nan"), float("inf"), "", "x", "../..", "/", "null",
    "\x1b]0;t\x07", "${oc.env:HOME}", "${size}", "???", "os.system", "@clip", "a" * 5000, [], [[]], [1, "a", None],
    {}, {"_target_": "os.system"}, {"class": "os.system"}, {"_network_": "/"}, {"class": "SpaceTimeUNet"}, {"": 1},
    {"_target_": "mav_lightning.runs.job.Job"},
]  # fmt: skip
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind",
             "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "ctypes.dlopen", "pickle.find_class")  # fmt: skip


class Watch:
    """Records forbidden audit events while it is on."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {args[:1]}")
        elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            if not str(args[0]).startswith(("/dev/null", "/proc")):
                self.seen.append(f"open {args[0]} {args[1]}")
        elif event == "import" and not str(args[0]).startswith(ALREADY):
            if args[0] not in sys.modules:
                self.seen.append(f"import {args[0]}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False


# Libraries that import parts of themselves late.
ALREADY = ("mav_lightning", "datamodules", "evaluation", "torch", "lightning", "sympy", "numpy", "scipy", "encodings",
           "safetensors", "omegaconf", "yaml", "antlr4", "torchmetrics", "transformers", "tokenizers", "diffusers",
           "einops", "av", "PIL", "cv2", "matplotlib", "mpmath", "make_a_video_pytorch", "_", "inspect",
           "ast")  # fmt: skip


def mutated(value: Any, draw: random.Random) -> Any:
    """Return plain data with one to three values, keys or items changed."""
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return draw.choice(JUNK)
        holder, key = draw.choice(places)
        kind = draw.random()
        if kind < 0.6:
            holder[key] = copy.deepcopy(draw.choice(JUNK))
        elif kind < 0.75:
            del holder[key]
        elif kind < 0.85 and isinstance(holder, dict):
            holder[draw.choice(["class", "_target_", "net", "size", "x", "_partial_"])] = copy.deepcopy(
                draw.choice(JUNK)
            )
        else:
            deep: Any = holder[key]
            for _ in range(draw.choice([2, 40, 3000])):
                deep = [deep]
            holder[key] = deep
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value, index
            yield from _places(value[index])


def text_of(value: Any, draw: random.Random) -> bytes:
    """Return a mutation as text: JSON of changed values, or valid JSON with changed bytes."""
    if draw.random() < 0.75:
        try:
            return json.dumps(mutated(value, draw)).encode()
        except RecursionError:
            return b"[" * 100_000
    data = bytearray(json.dumps(value).encode())
    for _ in range(draw.randint(1, 8)):
        place = draw.randrange(len(data))
        if draw.random() < 0.5:
            data[place] = draw.randrange(256)
        else:
            del data[place : place + draw.randint(1, 40)]
        data = data or bytearray(b" ")
    return bytes(data)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with some changed, taken out or repeated; of a tar, half of the time with checksums that fit."""
    wrong = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        place, kind = draw.randrange(len(wrong)), draw.random()
        if kind < 0.5:
            wrong[place] = draw.randrange(256)
        elif kind < 0.65:
            del wrong[place : place + draw.randint(1, 600)]
        elif kind < 0.8:
            wrong[place:place] = wrong[place : place + draw.randint(1, 600)]
        else:
            header = place - place % 512
            wrong[header + draw.choice((0, 124, 135, 156, 257, 345)) : header + draw.randint(1, 400)] = draw.randbytes(
                8
            )
        wrong = wrong or bytearray(b"x")
    if draw.random() < 0.5:
        for header in range(0, len(wrong) - 511, 512):
            if wrong[header + 257 : header + 262] == b"ustar":
                wrong[header + 148 : header + 156] = b" " * 8
                wrong[header + 148 : header + 156] = b"%06o\0 " % sum(wrong[header : header + 512])
    return bytes(wrong)


def cases(root: Path) -> list[Case]:
    """Return what is fuzzed: name, the file that is mutated, and what reads it."""
    import torch

    from evaluation import load_protocol
    from evaluation.folders import open_clips
    from mav_lightning.ablation.run import load_plan
    from mav_lightning.ablation.study_plan import read_plan
    from mav_lightning.cascade.pipeline_file import READY_MADE
    from mav_lightning.cascade.pipeline_folder import read_pipeline
    from mav_lightning.common.configs import conf_root
    from mav_lightning.config import load_config
    from mav_lightning.config.loading import read_yaml
    from mav_lightning.modules.decoder import TemporalDecoder
    from mav_lightning.networks.stored import load_network
    from mav_lightning.training.checkpoint_io import AtomicCheckpointIO

    shutil.copytree(READY_MADE, root / "pipe")
    (root / "clips").mkdir()
    (root / "clips" / "a.mp4").write_bytes(b"")
    clip = {
        "id": "0",
        "file": "a.mp4",
        "fps": 8.0,
        "prompt": "a red circle",
        "attributes": {"shape": "circle"},
        "seed": 0,
    }
    (root / "clips" / "manifest.json").write_text(json.dumps({"clips": [clip]}))
    for name, config in {
        "config": read_yaml(conf_root() / "stage" / "temporal_tiny.yaml"),
        "study": read_yaml(conf_root() / "ablation" / "factorized.yaml"),
        "protocol": read_yaml(conf_root() / "protocol" / "shapes-tiny.yaml"),
    }.items():
        (root / f"{name}.yaml").write_text(json.dumps(config))  # JSON is YAML
    (root / "study").mkdir()
    (root / "study" / "study.json").write_text(json.dumps({"study": {"name": "x"}, "trials": []}))
    torch.save({"state_dict": {}, "callbacks": {}, "epoch": 1}, root / "a.ckpt")
    card = json.loads((root / "pipe/decoder/network.json").read_text())
    weights = load_network(root / "pipe/decoder").state_dict()
    prefixed = {f"denoiser.{name}": value for name, value in weights.items()}
    kept = {"state_dict": prefixed, "network": card["network"], "hyper_parameters": {"spatial_lr": 0.5}}
    torch.save(kept, root / "b.ckpt")
    return [
        ("network.json", root / "pipe/prior/network.json", lambda: load_network(root / "pipe/prior")),
        ("network.json", root / "pipe/decoder/network.json", lambda: load_network(root / "pipe/decoder")),
        ("weights", root / "pipe/prior/weights.safetensors", lambda: load_network(root / "pipe/prior")),
        ("pipeline.json", root / "pipe/pipeline.json", lambda: read_pipeline(root / "pipe")),
        ("manifest.json", root / "clips/manifest.json", lambda: open_clips(root / "clips")),
        ("study.json", root / "study/study.json", lambda: read_plan(root / "study")),
        ("config", root / "config.yaml", lambda: load_config(root / "config.yaml")),
        ("study", root / "study.yaml", lambda: load_plan(root / "study.yaml")),
        ("protocol", root / "protocol.yaml", lambda: load_protocol(str(root / "protocol.yaml"))),
        ("checkpoint", root / "a.ckpt", lambda: AtomicCheckpointIO().load_checkpoint(root / "a.ckpt")),
        ("module's checkpoint", root / "b.ckpt", lambda: TemporalDecoder.load_from_checkpoint(root / "b.ckpt")),
    ]


def fuzz(
    seconds: float, seed: int = 0, groups: Sequence[str] = ("models", "data", "media")
) -> tuple[Counter[str], list[str]]:
    """Fuzz for a time; return rounds by case, and what should not have happened.

    Args:
        seconds: Time.
        seed: Seed of the mutations.
        groups: ``models`` for networks, configs and studies, ``data`` for shards, tables and texts, ``media``.
    """
    draw, watch = random.Random(seed), Watch()
    counts, faults = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as place:
        known = {"models": cases, "data": shard_cases, "media": media_cases}
        every = []
        for name in groups:
            (Path(place) / name).mkdir()
            every += known[name](Path(place) / name)
        contents = {file: file.read_bytes() for _, file, _ in every}
        for _, _, read in every:  # imports that valid files need happen once, here
            _outcome(read)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            name, file, read = draw.choice(every)
            original = contents[file]
            if file.suffix in (".json", ".yaml"):
                data = text_of(json.loads(original), draw)
            else:
                data = damaged(original, draw)
            file.write_bytes(data)
            begun = time.monotonic()
            with watch.watching():
                problem = _outcome(read)
            file.write_bytes(original)
            counts[name] += 1
            if problem or watch.seen or time.monotonic() - begun > 20:
                faults.append(f"{name}: {problem} {watch.seen} {time.monotonic() - begun:.0f} s; {data[:300]!r}")
                watch.seen.clear()
    return counts, faults


def _outcome(read: Callable[[], object]) -> str:
    """Return what came out other than a value or a `UserError`; empty if nothing did."""
    logging.disable()  # bad samples by the thousand
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except UserError:
        pass
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        logging.disable(logging.NOTSET)
    return ""


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("60", "0", "models,data,media")[len(sys.argv) - 1 :]]
    found, wrong = fuzz(float(arguments[0]), int(arguments[1]), arguments[2].split(","))
    print(dict(found), f"{sum(found.values())} rounds, {len(wrong)} faults")
    shortest = {line.split(";")[0][:90]: line for line in sorted(wrong, key=len, reverse=True)}  # one of each kind
    print("\n".join(sorted(shortest.values())[:40]))
    sys.exit(bool(wrong))
