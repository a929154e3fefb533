"""Extraction of features: each clip is decoded once for all extractors, and nothing is extracted twice."""

import os
import platform
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from evaluation.cuts import Cut, read_cut
from evaluation.discovery import kind_of, source_of
from evaluation.extractors.base import LoadedExtractor, TextExtractor
from evaluation.failures import Failures
from evaluation.feature_store import FeatureStore, key_of
from evaluation.protocol import Protocol
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.machine import package_version
from mav_lightning.common.tracking import Track, untracked

__all__ = ["Extraction", "Reading", "versions"]

T = TypeVar("T")
R = TypeVar("R")
# Packages that pixels and features depend on.
_PACKAGES = ("torch", "numpy", "scipy", "av", "pillow", "opencv-python-headless", "clean-fid", "transformers")


@dataclass(frozen=True)
class Reading:
    """A clip that was read.

    Attributes:
        cut: The clip.
        prepared: Name of each extractor without features of the clip → its input.
        problem: Reason why the clip could not be read; empty if it could.
    """

    cut: Cut
    prepared: Mapping[str, Tensor]
    problem: str = ""


class Extraction:
    """Features of clips under a protocol's extractors, kept on disk.

    The last digit of a network's features depends on the batch size, so every batch is padded to the protocol's.

    Args:
        wanted: Clips with hashed sources, and the names of the extractors of each.
        prompts: Texts for extractors that embed texts.
        protocol: Protocol with the frame size and the batch size.
        loaded: Name → extractor.
        folder: Folder of all features.
        workers: Number of threads that read and prepare clips. None: one per core, at most 8.

    Attributes:
        failures: Clips without features, so far.
    """

    def __init__(
        self,
        wanted: Iterable[tuple[Cut, Collection[str]]],
        prompts: Iterable[str],
        protocol: Protocol,
        loaded: Mapping[str, LoadedExtractor],
        folder: Path,
        workers: int | None = None,
    ) -> None:
        self.wanted, self.prompts = list(wanted), sorted(set(prompts))
        self.protocol, self.loaded = protocol, dict(loaded)
        self.workers, self.failures = workers or min(os.cpu_count() or 1, 8), Failures()
        self._stores = {name: FeatureStore(folder, self._view(name, "clips")) for name in loaded}
        self._text_stores = {name: FeatureStore(folder, self._view(name, "texts")) for name in self._readers()}
        self._batches: dict[tuple[str, torch.Size], _Batch] = {}
        self._device = torch.device("cpu")

    def to(self, device: torch.device | str) -> "Extraction":
        """Move the extractors to a device."""
        self._device = torch.device(device)
        for one in self.loaded.values():
            one.extractor.to(self._device)
        return self

    def missing(self, rank: int = 0, processes: int = 1) -> list[tuple[Cut, list[str]]]:
        """Return the clips of this process's share without features, and the extractors concerned.

        A process's share does not depend on what is missing, so no clip is extracted by two processes.
        """
        share = [(cut, _key(cut), names) for cut, names in self.wanted[rank::processes]]
        lacking = {name: set(store.missing(key for _, key, _ in share)) for name, store in self._stores.items()}
        left = [
            (cut, [name for name in lacking if name in names and key in lacking[name]]) for cut, key, names in share
        ]
        return [(cut, names) for cut, names in left if names]

    def run(self, track: Track = untracked, rank: int = 0, processes: int = 1) -> None:
        """Extract everything that is missing from this process's share.

        Raises:
            UserError: If clips have no features: all are counted and the first named; the others' features are kept.
        """
        missing = self.missing(rank, processes)
        for reading in track(self.readings(missing), len(missing), "clips"):
            self.take(reading)
        self.finish(rank, processes)
        then = "The features of the others are kept; fix or remove these."
        self.failures.raise_any(len(self.wanted), "clips", then)

    def readings(self, missing: Sequence[tuple[Cut, list[str]]]) -> Iterator[Reading]:
        """Read and prepare clips in order, some in advance."""
        return _ahead(lambda one: self._read(*one), missing, self.workers)

    def take(self, reading: Reading) -> None:
        """Add a clip; extract and store features once a batch is full."""
        if reading.problem:
            self.failures.add(reading.cut.id, reading.problem)
        for name, prepared in reading.prepared.items():
            batch = self._batches.get((name, prepared.shape))
            if batch is None:
                batch = self._batches[name, prepared.shape] = _Batch(prepared, self.protocol.batch)
            batch.add(reading.cut, prepared)
            if len(batch.cuts) == self.protocol.batch:
                self._extract(name, batch)

    def finish(self, rank: int = 0, processes: int = 1) -> None:
        """Extract the last, incomplete batches, and the prompts of this process's share."""
        for (name, _), batch in self._batches.items():
            if batch.cuts:
                self._extract(name, batch)
        keys = {key_of(prompt): prompt for prompt in self.prompts[rank::processes]}
        for name, reader in self._readers().items():
            store = self._text_stores[name]
            lacking = store.missing(keys)
            for start in range(0, len(lacking), self.protocol.batch):
                some = lacking[start : start + self.protocol.batch]
                with torch.inference_mode():
                    store.add(some, reader.texts([keys[key] for key in some]))

    def features(self, name: str, cuts: Sequence[Cut]) -> Tensor:
        """Return the features of clips under an extractor, shape (clips, rows, d)."""
        return self._stores[name].read([_key(cut) for cut in cuts])

    def texts(self, name: str) -> dict[str, Tensor]:
        """Return prompt → unit vector."""
        if not self.prompts:
            return {}
        rows = self._text_stores[name].read([key_of(prompt) for prompt in self.prompts])
        return dict(zip(self.prompts, rows, strict=True))

    def _readers(self) -> dict[str, TextExtractor]:
        extractors = {name: one.extractor for name, one in self.loaded.items()}
        return {name: one for name, one in extractors.items() if isinstance(one, TextExtractor)}

    def _view(self, name: str, of: str) -> dict[str, Any]:
        """Return everything except the clip that changes features."""
        own, protocol = self.protocol.extractors[name], self.protocol
        settings = {key: value for key, value in vars(own).items() if key not in ("sha256", "git_blob", "weights")}
        return {
            "of": of,
            "extractor": {"kind": kind_of(own), "sha256": self.loaded[name].sha256} | settings | source_of(own),
            "frames": {"resize": [asdict(step) for step in protocol.resize], "batch": protocol.batch},
            "measures": protocol.measures,
            "versions": versions(),
        }

    def _read(self, cut: Cut, names: Sequence[str]) -> Reading:
        try:
            clip = read_cut(cut, self.protocol.resize)
            return Reading(cut, {name: self.loaded[name].extractor.prepare(clip) for name in names})
        except UserError as error:
            return Reading(cut, {}, str(error))

    @torch.inference_mode()
    def _extract(self, name: str, batch: "_Batch") -> None:
        """Extract and store the features of a batch, and empty it."""
        extractor, cuts = self.loaded[name].extractor, batch.taken()
        try:
            found = extractor(batch.rows.to(self._device))[: len(cuts)]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what a file's own code raises
            raise UserError(
                f"extractor `{name}` cannot take clips of {counted(self.protocol.frames, 'frame')}, prepared as "
                f"{tuple(batch.rows.shape[1:])} ({str(error).strip().splitlines()[-1]}); choose a protocol with the "
                "frames and the size that the network was made for."
            ) from error
        good = found.isfinite().flatten(1).all(dim=1) if extractor.finite else torch.ones(len(found), dtype=torch.bool)
        for cut, right in zip(cuts, good.tolist(), strict=True):
            if not right:
                self.failures.add(cut.id, f"extractor `{name}` gave values that are not finite; look at the clip")
        kept = [row for row, right in enumerate(good.tolist()) if right]
        if kept:
            self._stores[name].add([_key(cuts[row]) for row in kept], found[kept])


class _Batch:
    """A batch of clips for one extractor, in memory that is reused."""

    def __init__(self, like: Tensor, size: int) -> None:
        self.rows, self.cuts = like.new_empty((size, *like.shape)), list[Cut]()

    def add(self, cut: Cut, prepared: Tensor) -> None:
        self.rows[len(self.cuts)] = prepared
        self.cuts.append(cut)

    def taken(self) -> list[Cut]:
        """Return the clips, after padding the batch with copies of the last one."""
        cuts, self.cuts = self.cuts, []
        self.rows[len(cuts) :] = self.rows[len(cuts) - 1]
        return cuts


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {
        name: package_version(name) or "not installed" for name in _PACKAGES
    }


def _key(cut: Cut) -> str:
    return key_of(cut.source.content, cut.choice)


def _ahead(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield results in order; threads work two items each in advance, since decoding and resizing release the GIL."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
