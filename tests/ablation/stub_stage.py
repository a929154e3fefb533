"""A stage that does in milliseconds what real ones do in minutes: plausible artefacts, resumable, traceable.

``python stub_stage.py DIR``. STUB_FAIL names stages that exit with 3; STUB_DIE reads ``<stage>:<how>``, how being
segfault, kill, memory or diverge; STUB_BLOCK names stages that stop halfway, tell STUB_PIPE their process id and wait
for SIGUSR1. STUB_CLIPS is the number of clips.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import IO

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json, write_text
from mav_lightning.runs.stage_folder import StageFolder

STEPS = 6


def main(path: Path) -> None:
    folder = StageFolder(path)
    stage = folder.read_stage()
    trace(path, "start")
    owner = claim_alone(path)
    if stage.name in os.environ.get("STUB_FAIL", "").split(","):
        print("RuntimeError: the stub was told to fail")
        sys.exit(3)
    victim, _, how = os.environ.get("STUB_DIE", "").partition(":")
    if stage.name == victim:
        die(how)
    {"data": train, "train": train, "sample": sample, "score": score}[stage.kind](folder)
    parameters = {"train": 770_000, "sample": 1_200_000}.get(stage.kind)
    steps = stage.config.get("frames", 0) * 100 if stage.kind == "train" else None
    peak = {"data": 2, "train": 9, "sample": 5, "score": 6}[stage.kind] * 10**8
    seconds = {"clip": 21.0, "spatial": 148.2, "temporal": 287.4}.get(stage.name, 6.5)
    per_step = seconds / steps if steps else None
    write_json(
        folder.cost_file,
        {
            "steps": steps,
            "seconds": seconds,
            "parameters": parameters,
            "peak_rss_bytes": peak,
            "step_seconds": per_step,
        },
    )
    trace(path, "end")
    owner.close()


def die(how: str) -> None:
    """Ends as real trainings do."""
    print(f"the stub was told to die: {how}", flush=True)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":  # as the kernel does
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":  # allocates until an allocation fails
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        bytearray(4 << 30)
    if how == "diverge":
        raise UserError("loss is nan at step 7; lower the learning rate.")


def trace(path: Path, word: str) -> None:
    with (path.parent.parent / "trace.txt").open("a") as file:
        file.write(f"{word} {path.name}\n")


def claim_alone(path: Path) -> IO[str]:
    """Two processes in one stage at once are traced as an overlap; no other process inherits this lock."""
    owner = (path / "owner").open("w")
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        trace(path, "overlap")
    return owner


def train(folder: StageFolder) -> None:
    """Advances a hash chain, a checkpoint every step: resumed anywhere, it ends the same.

    It begins with the parents' weights, and each step continues and counts what the disk holds: a parent that was not
    whole, and steps that are trained twice or left out, show in the weights of all that follows.
    """
    stage, checkpoint = folder.read_stage(), folder.path / "checkpoint.json"
    if not checkpoint.exists():
        write_json(checkpoint, [0, " ".join([stage.id, *map(weights, folder.needed().values())])])
    for step in range(json.loads(checkpoint.read_text())[0], STEPS):
        if step == STEPS // 2 and stage.name in os.environ.get("STUB_BLOCK", "").split(","):
            signal.signal(signal.SIGUSR1, lambda *_: None)
            with open(os.environ["STUB_PIPE"], "w") as pipe:
                print(os.getpid(), file=pipe, flush=True)
                signal.pause()
        done, state = json.loads(checkpoint.read_text())
        write_json(checkpoint, [done + 1, hashlib.sha256(f"{done} {state}".encode()).hexdigest()])
        folder.write_progress(done + 1, STEPS)
        print(f"step {done + 1}/{STEPS}")
    write_text(folder.path / "weights.txt", checkpoint.read_text())


def weights(trained: Path) -> str:
    return (trained / "weights.txt").read_text()


def sample(folder: StageFolder) -> None:
    """Renders clips: of the law where a temporal stage made the decoder, independent frames otherwise."""
    import numpy as np

    from mav_lightning.common.manifest import ClipRecord, write_manifest
    from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
    from mav_lightning.common.shapes_world.scene import all_scenes, caption, render, render_motion
    from mav_lightning.common.video_encoding import write_lossless

    stage, needed = folder.read_stage(), folder.needed()
    temporal = needed["decoder"].name.startswith("temporal")
    clips = folder.clips
    clips.mkdir(exist_ok=True)
    size, frames = stage.config["size"], stage.config["frames"]
    records = []
    scenes = [scene for scene in all_scenes() if scene.ground == "dark"][:: 24 // int(os.environ.get("STUB_CLIPS", 2))]
    for number, scene in enumerate(scenes):
        fps = (4.0, 8.0, 16.0)[number % 3]
        rng = np.random.default_rng([stage.config["seed"], number])
        motion = sample_motion(LAW_OF_SHAPE[scene.shape], rng)
        if temporal:
            video = render_motion(scene, motion, np.arange(frames) / fps, size)
        else:
            video = render(scene, rng.uniform(0.25, 0.75, (frames, 2)), size)
        video = np.clip(video + rng.normal(0, 4, video.shape), 0, 255).astype(np.uint8)
        write_lossless(clips / f"{number:03d}.mkv", video, fps)
        records.append(
            ClipRecord(f"{number:03d}", f"{number:03d}.mkv", fps, caption(scene, number), scene.attributes(), number)
        )
    write_manifest(clips, records)


def score(folder: StageFolder) -> None:
    """Writes the results a real evaluation might find, a function of the clips' stage and their decoder's weights."""
    generated = StageFolder(folder.needed()["generated"])
    content, decoder = generated.read_stage(), generated.needed()["decoder"]
    temporal = decoder.name.startswith("temporal")
    rng = random.Random(content.id + weights(decoder))
    wobble = rng.gauss
    law, speed = wobble(0.86 if temporal else 0.02, 0.015), 0.97 if temporal else 1.6
    fvd, flicker = wobble(38 if temporal else 141, 4), wobble(2.1 if temporal else 31.0, 0.2)
    values = {
        "shapes-fvd": (fvd, "lower", [fvd - 6, fvd + 7], "distance"),
        "law": (law, "higher", [max(law - 0.05, 0), law + 0.04], "share"),
        "flicker": (flicker, "lower", [flicker - 0.3, flicker + 0.3], "levels"),
        "appearance": (wobble(0.97, 0.004), "higher", [0.94, 0.99], "share"),
        "speed-ratio": (wobble(speed, 0.02), "one", None, "ratio"),
    }
    for fps in (4, 8, 16):
        values[f"speed-ratio@{fps}"] = (wobble(speed + 0.02 * (8 - fps) / 4, 0.03), "one", None, "ratio")
    manifest = json.loads((generated.clips / "manifest.json").read_text())["clips"]
    metrics = {
        name: {"value": v, "interval": i, "interval_kind": "wilson", "n": len(manifest), "better": b, "unit": u}
        for name, (v, b, i, u) in values.items()
    }
    per_clip = {
        clip["id"]: {
            "law": rng.random() < law,
            "appearance": rng.random() < 0.97,
            "speed_ratio": wobble(speed, 0.05) if temporal else None,
        }
        for clip in manifest
    }
    results = {
        "protocol": {"name": "shapes-tiny", "hash": "2f1c09ab77de0142", "frames": 9, "size": 16},
        "extractors": {"shapes-video": "ab" * 32},
        "n": {"generated": len(manifest), "real": 96},
        "metrics": metrics,
        "by_fps": {},
        "clips": per_clip,
        "generated_sha256": content.id,
        "real_sha256": "cd" * 32,
        "versions": {},
    }
    write_json(folder.results_file, results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
