"""Generation of clips into a folder: batch by batch, each file written atomically, resumed after interruption."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mav_lightning.cascade.clip_check import Jump, describe_jump, find_jumps, last_given
from mav_lightning.cascade.clip_files import read_facts
from mav_lightning.cascade.clip_requests import (
    ClipRequest,
    Clips,
    FramesRequest,
    TextRequest,
    check_clip_count,
    same_kind,
)
from mav_lightning.cascade.clip_writer import FORMATS, Format, choose_format, remove, write_clip
from mav_lightning.cascade.mark import draw_mark, provenance
from mav_lightning.cascade.network_calls import output_fps
from mav_lightning.cascade.sample_networks import Step, no_step
from mav_lightning.cascade.sheet import SHEET
from mav_lightning.cascade.sign import Signing
from mav_lightning.cascade.step_count import denoising_steps, frame_count, given_frames
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import MOST_FPS, shown_frames
from mav_lightning.common.manifest import MANIFEST, ClipRecord, manifest_sha256, write_manifest
from mav_lightning.common.tracking import Track, untracked

__all__ = ["Generation"]

_CHAIN = 3  # raised when the sampling chain gives other bits for the same request


class Generation:
    """Generates the clips of requests and writes them to a folder.

    Every file appears complete or not at all, and its metadata holds the hash of the manifest that it belongs to. So a
    second run of the same requests generates only the missing clips, and a clip of other requests is never mistaken
    for one of these.

    Args:
        pipeline: Pipeline that generates the clips.
        requests: Requests of one class, at most 100,000.
        out: The folder. It is created when the first clip is written. It may hold an unfinished run of the same
            requests, and nothing else.
        format: File format: ``mp4``, ``mkv`` (lossless), ``gif``, or ``frames``, a folder of PNGs per clip. None for
            mp4 if clips are marked, and mkv if they are not.
        mark: Whether clips get the visible mark. Clips to be evaluated must not have it.
        scale: Factor by which marked frames are upsampled for the eye, each pixel repeated.
        signing: Signs every file. None for files without a signature.
        overwrite: Replace clips of other requests that the folder holds.

    Attributes:
        records: Manifest entry of each clip.
        made: Settings with which the clips are generated, for the manifest.
        jumps: Jumps in the clips that this process has generated, by the clip's number.

    Raises:
        UserError: If the pipeline cannot serve a request, the format is unknown or cannot be signed, unmarked clips are
            to be upsampled, or the folder holds anything else.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        requests: Sequence[ClipRequest],
        out: Path,
        *,
        format: Format | None = None,
        mark: bool = True,
        scale: int = 1,
        signing: Signing | None = None,
        overwrite: bool = False,
    ) -> None:
        form = choose_format(format, mark=mark, scale=scale, signed=signing is not None)
        check_clip_count(len(requests))
        pipeline.check_requests(requests)
        self.pipeline, self.requests, self.out = pipeline, list(requests), out
        self.mark, self.scale, self.signing = mark, scale, signing
        self.records = [self._record(number, request, form) for number, request in enumerate(self.requests)]
        self.made = self._made()
        self.jumps = dict[int, list[Jump]]()
        self._hash = manifest_sha256(self.records, self.made)
        self._done, self._others = self._found(overwrite)

    @property
    def drops_frames(self) -> bool:
        """Whether the format has a lower frame rate than some clips, so that it shows only some of their frames."""
        return any(self._rate(one) > record.fps for one, record in zip(self.requests, self.records, strict=True))

    def start(self) -> None:
        """Remove clips of other requests, if they are to be replaced. Call it once, before any process writes."""
        for path in self._others:
            remove(path)
        self._others = []

    def batches(self, rank: int = 0, processes: int = 1) -> list[list[int]]:
        """Return the numbers of the missing clips that a process generates, batch by batch.

        Clips are assigned to processes independently of which are missing, so no two processes generate the same clip.

        Args:
            rank: Number of the process, from 0.
            processes: Number of processes.
        """
        missing = [number for number in range(rank, len(self.records), processes) if number not in self._done]
        size = self.pipeline.sampling.batch_size
        return [missing[start : start + size] for start in range(0, len(missing), size)]

    def write(self, numbers: Sequence[int], on_step: Step = no_step) -> None:
        """Generate, check and write the clips with these numbers.

        Args:
            numbers: Numbers of at most `Sampling.batch_size` clips.
            on_step: Called at every sampler step.
        """
        (clips,) = self.pipeline.generate([self.requests[number] for number in numbers], on_step=on_step)
        self.out.mkdir(parents=True, exist_ok=True)
        for number, clip in zip(numbers, clips, strict=True):
            record, request = self.records[number], self.requests[number]
            if jumps := find_jumps(clip, request.loop, last_given(request)):
                self.jumps[number] = jumps
            rate, comment = self._rate(request), provenance(self._hash)
            write_clip(self.out / record.file, self._shown(clip), rate, comment, self._sign)
            self._done.add(number)

    def run(self, track: Track = untracked, rank: int = 0, processes: int = 1) -> None:
        """Generate the missing clips of a process.

        Args:
            track: Shows progress, in sampler steps over all networks and clips.
            rank: Number of the process, from 0.
            processes: Number of processes.
        """
        batches, sampling = self.batches(rank, processes), self.pipeline.sampling
        total = sum(denoising_steps([self.requests[number] for number in batch], sampling) for batch in batches)
        steps = iter(track(range(total), total, "denoising steps"))
        for batch in batches:
            self.write(batch, on_step=lambda: next(steps, None))
        for _ in steps:  # those of a sampler that takes fewer
            pass

    def finish(self) -> None:
        """Write the manifest. Call it when every clip has been written."""
        write_manifest(self.out, self.records, self.made)

    def warnings(self) -> list[str]:
        """Describe the jumps in the clips that this process has generated."""
        sampling = self.pipeline.sampling
        return [
            describe_jump(self.records[number].id, jump, self.requests[number], sampling)
            for number, jumps in sorted(self.jumps.items())
            for jump in jumps
        ]

    def _rate(self, request: ClipRequest) -> float:
        """Return the frame rate of a request's clip."""
        return request.fps * output_fps(type(request), self.pipeline.sampling)

    def _shown(self, clip: Clips) -> Clips:
        """Return a clip as it is written."""
        if not self.mark:
            return clip
        return draw_mark(clip.repeat(self.scale, axis=1).repeat(self.scale, axis=2))

    def _record(self, number: int, request: ClipRequest, format: Format) -> ClipRecord:
        prompt = request.prompt if isinstance(request, TextRequest) else None
        fps = self._rate(request)
        return ClipRecord(
            id=f"{number:05d}",
            file=f"{number:05d}{FORMATS[format].suffix}",
            fps=min(fps, MOST_FPS) if format == "gif" else fps,
            prompt=prompt.text if prompt else None,
            attributes=prompt.attributes if prompt else {},
            seed=request.seed,
            checkpoints=self.pipeline.cascade.ids,
            source=request.source if isinstance(request, FramesRequest) else None,
            given=self._given(request, format),
        )

    def _given(self, request: ClipRequest, format: Format) -> list[int]:
        """Return the numbers of the frames of a request's file that were given."""
        sampling = self.pipeline.sampling
        count, given = frame_count(request, sampling), set(given_frames(request, sampling))
        written = shown_frames(count, self._rate(request)) if format == "gif" else range(count)
        return [place for place, number in enumerate(written) if number in given]

    def _made(self) -> dict[str, Any]:
        """Return how all clips are made, for the manifest."""
        made = {
            "chain": _CHAIN,
            "loop": self.requests[0].loop,
            "mark": self.mark,
            "scale": self.scale,
            "signer": self.signing.fingerprint if self.signing else None,
            **asdict(self.pipeline.sampling),
        }
        # Requests for several clips of one input share one array.
        given = {id(one.frames): one.frames for one in self.requests if isinstance(one, FramesRequest)}
        if given:
            digest = hashlib.sha256()
            for frames in given.values():
                digest.update(frames.tobytes())
            made |= {"use": same_kind(self.requests).use, "given_sha256": digest.hexdigest()}
        return made

    def _found(self, overwrite: bool) -> tuple[set[int], list[Path]]:
        """Return the numbers of the clips that are done, and what an earlier run of other requests left."""
        numbers = {record.file: number for number, record in enumerate(self.records)}
        done, others, sheet = set[int](), list[Path](), self.out / SHEET
        for path in sorted(self.out.iterdir()) if self.out.is_dir() else ():
            if path.name.startswith(".") or path == sheet:
                continue
            origin = _origin(path)
            if origin is None:
                raise UserError(
                    f"{path}: was not written by `mav generate`; choose another folder for the clips.", argument="out"
                )
            if origin == self._hash and path.name in numbers:
                done.add(numbers[path.name])
            elif origin != self._hash:
                others.append(path)
        if others and not overwrite:
            raise UserError(
                f"{self.out}: holds clips of other requests ({others[0].name}); choose another folder, or replace them "
                "with --overwrite (overwrite=True).",
                argument="out",
            )
        return done, [*others, sheet] if others else []

    def _sign(self, file: Path) -> None:
        if self.signing:
            self.signing(file, self._hash)


def _origin(path: Path) -> str | None:
    """Return the sha256 of the manifest that a manifest or clip belongs to. None if the file is of other origin."""
    if path.name == MANIFEST:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        return read_facts(path).get("manifest_sha256")
    except UserError:
        return None
