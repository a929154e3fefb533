"""A protocol fixes every choice that affects a score; a metric's name means nothing without it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from evaluation.discovery import find_class, kind_of, source_of
from evaluation.extractors.base import ExtractorSettings
from evaluation.folders import Split
from evaluation.metrics.base import Metric, Number
from evaluation.resize import ResizeStep
from evaluation.version import MEASURES
from mav_lightning.common.configs import conf_root, find_protocol
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import PositiveFloat, PositiveInt, Seed, build, check
from mav_lightning.common.yaml_files import read_mapping, resolve_references

__all__ = [
    "Choice",
    "CodeReference",
    "GeneratedClips",
    "Protocol",
    "ProtocolFields",
    "RealClips",
    "Start",
    "known_protocols",
    "load_protocol",
    "parse_protocol",
    "protocol_of_stage",
]

FOLDER = conf_root() / "protocol"
Start = Literal["first", "center", "random"]
Choice = Literal["shuffled", "first", "windows"]


@dataclass(frozen=True)
class GeneratedClips:
    """Which generated clips are measured.

    Attributes:
        clips: Number of clips, drawn by the seed. None takes all.
        start: Where the frames begin in a clip that is longer than needed.
    """

    clips: PositiveInt | None
    start: Start


@dataclass(frozen=True)
class RealClips:
    """Which real clips are measured.

    Attributes:
        clips: Number of clips. None takes one of every video that is long enough.
        start: Where in a video the frames begin.
        split: Split of a dataset that has splits, or ``all`` of them; other folders are taken whole.
        choice: ``shuffled`` takes the videos in an order drawn by the seed; ``first`` takes them in the order of their
            names, whatever their folders, splits and suffixes; ``windows`` draws among all runs of consecutive frames
            of all videos, so that long videos give more clips. Videos that are too short are skipped.
        repeat: Whether several clips may be cut from one video if there are fewer videos than clips.
        fewer: Whether fewer clips are accepted if there are not as many videos.
    """

    clips: PositiveInt | None
    start: Start
    split: Split
    choice: Choice
    repeat: bool
    fewer: bool


@dataclass(frozen=True)
class CodeReference:
    """Published code that a protocol follows.

    Attributes:
        repository: Address of the repository.
        file: Path of the file in it.
        lines: Lines of the file, for example ``20-55``. None for the whole file.
        commit: Commit, 40 hexadecimal digits. None if the code was read elsewhere.
    """

    repository: str
    file: str
    lines: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class ProtocolFields:
    """The fields of a protocol's file.

    Attributes:
        frames: Frames of a clip; longer clips are cut.
        fps: Frame rates of the clips: videos are cut at these by time, and generated clips must have one of them. None
            if `stride` is given.
        stride: Take every `stride`-th stored frame, whatever the frame rate. None if `fps` is given.
        resize: Steps by which frames are resized before any extractor, which may resize them further. Empty leaves
            frames as stored.
        seed: Seed of all random choices.
        batch: Clips an extractor processes at once; it can change the last digits of results.
        generated: Which generated clips are measured.
        real: Which real clips are measured. None if no metric needs any.
        extractors: Name, as the metrics use it → settings.
        metrics: Name of the metric → settings.
        follows: Published code that the protocol follows; part of no hash.
        unknown: What the protocol's authors do not state, or where it departs from them; part of no hash.
    """

    frames: PositiveInt
    fps: tuple[PositiveFloat, ...] | None
    stride: PositiveInt | None
    resize: tuple[ResizeStep, ...]
    seed: Seed
    batch: PositiveInt
    generated: GeneratedClips
    real: RealClips | None
    extractors: Mapping[str, ExtractorSettings]
    metrics: Mapping[str, Metric]
    follows: tuple[CodeReference, ...] = field(default=(), kw_only=True)
    unknown: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Protocol(ProtocolFields):
    """Evaluation protocol: every choice that affects the numbers computed from clips.

    Attributes:
        name: Name of a shipped protocol, or path of the user's own file as it was given; not part of the hash.
        measures: Version of the measuring code.

    Raises:
        UserError: If a field does not fit its type, or the fields do not fit together.
    """

    name: str
    measures: int = MEASURES

    def __post_init__(self) -> None:
        """Check the fields, whether they come from a file or from Python."""
        hints = get_type_hints(type(self), include_extras=True)
        for own in fields(self):
            check(getattr(self, own.name), hints[own.name], own.name, _instance)
        if self.fps is not None:
            object.__setattr__(self, "fps", tuple(float(rate) for rate in self.fps))
        _require_consistent(self)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over every field that affects numbers; results of other hashes are not comparable."""
        plain = {key: value for key, value in self._plain().items() if key not in ("name", "follows", "unknown")}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as plain data, hash included, for results."""
        return self._plain() | {"hash": self.hash}

    def numbers(self) -> dict[str, Number]:
        """Return name → direction and unit of every number that clips get under the protocol."""
        found: dict[str, Number] = {}
        for name, metric in self.metrics.items():
            found |= metric.declared(name, self.fps or ())
        return found

    def valueless(self, facts: frozenset[str]) -> dict[str, list[str]]:
        """Return the numbers that cannot have a value: name → unknown attributes of the clips that they need.

        Args:
            facts: Known attributes of every generated clip; see `PlannedClips.facts`.
        """
        return {
            number: sorted(lacking)
            for name, metric in self.metrics.items()
            if (lacking := metric.needs_facts - facts)
            for number in metric.declared(name, self.fps or ())
        }

    def _plain(self) -> dict[str, Any]:
        plain = asdict(self)
        for part in ("extractors", "metrics"):
            plain[part] = {
                name: {"kind": kind_of(one)} | asdict(one) | source_of(one) for name, one in getattr(self, part).items()
            }
        found: dict[str, Any] = json.loads(json.dumps(plain))
        return found


def known_protocols() -> list[str]:
    """Return the names of the shipped protocols."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_protocol(name: str | Path) -> Protocol:
    """Read a protocol.

    Args:
        name: Name of a shipped protocol, or path of a ``.yaml`` file.

    Raises:
        UserError: If there is no such protocol, or fields are unknown, missing or do not fit.
    """
    path = find_protocol(name)
    return parse_protocol(Path(name).as_posix(), resolve_references(read_mapping(path), str(path)))


def parse_protocol(name: str, values: Any) -> Protocol:
    """Build a protocol from plain values.

    Args:
        name: Name of a shipped protocol, or path of the user's own file as it was given.
        values: Field → value, without the name.

    Raises:
        UserError: If fields are unknown, missing or do not fit.
    """
    file = name if name.endswith(".yaml") else f"{name}.yaml"
    found = build(ProtocolFields, values, file, _part)
    try:
        return Protocol(**vars(found), name=name)
    except UserError as error:
        raise UserError(f"{file}: {error.message}", suggestion=error.suggestion) from error


def protocol_of_stage(content: Mapping[str, Any]) -> Protocol:
    """Build the protocol in the config of a score stage: a protocol's fields, its name, and the measuring version.

    Raises:
        UserError: If fields are unknown, missing or do not fit.
    """
    values = {field: value for field, value in content.items() if field not in ("name", "measures")}
    return parse_protocol(str(content["name"]), values)


def _part(value: Any, hint: Any, path: str) -> Any:
    """Build the settings of an extractor or a metric from plain values."""
    packages = {ExtractorSettings: "evaluation.extractors", Metric: "evaluation.metrics"}
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise UserError(f"{path}: must be a mapping with a `kind`, got {value!r}.")
    own = find_class(value["kind"], packages[hint], hint, f"{path}.kind")
    return build(own, {key: item for key, item in value.items() if key != "kind"}, path)


def _instance(value: Any, hint: Any, path: str) -> Any:
    if not isinstance(value, hint):
        raise UserError(f"{path}: must be of class {hint.__name__}, got {value!r}.")
    return value


def _require_consistent(protocol: Protocol) -> None:
    if (protocol.fps is None) == (protocol.stride is None):
        raise UserError(
            f"exactly one of `fps` and `stride` must be given, the other null; got {protocol.fps} and "
            f"{protocol.stride}."
        )
    if protocol.fps == ():
        raise UserError("`fps` must list at least one frame rate.")
    if protocol.real is not None and protocol.real.repeat and protocol.real.clips is None:
        raise UserError("`real.repeat` needs a number of `real.clips`, got null.")
    if protocol.real is not None and protocol.real.choice == "windows":
        _require_windows(protocol.real, protocol.stride)
    if not protocol.metrics:
        raise UserError("`metrics` must name at least one metric.")
    for name, metric in protocol.metrics.items():
        _require_extractors(protocol, name, metric)
        if metric.needs_real and protocol.real is None:
            raise UserError(f"`metrics.{name}` needs real clips, but `real` is null; state which ones are measured.")
    used = {extractor for metric in protocol.metrics.values() for extractor in metric.extractors().values()}
    if unused := [name for name in protocol.extractors if name not in used]:
        raise UserError(f"`extractors.{unused[0]}` is used by no metric; remove it, or name it in one.")


def _require_windows(real: RealClips, stride: int | None) -> None:
    if stride is None or real.clips is None or real.start != "random":
        raise UserError(
            "`real.choice: windows` needs a `stride`, a number of `real.clips` and `real.start: random`; got stride "
            f"{stride}, {real.clips} clips and start {real.start}."
        )


def _require_extractors(protocol: Protocol, name: str, metric: Metric) -> None:
    for role, extractor in metric.extractors().items():
        settings = protocol.extractors.get(extractor)
        if settings is None:
            near = nearest(extractor, protocol.extractors)
            raise UserError(f"`metrics.{name}.{role}` names no extractor: `{extractor}`.", suggestion=near)
        if not issubclass(settings.network, metric.roles[role]):
            raise UserError(
                f"`metrics.{name}.{role}`: an extractor of kind {kind_of(settings)} does not fit; it must be a "
                f"{metric.roles[role].__name__}."
            )
        if not name.startswith(settings.metric_prefix):
            raise UserError(
                f"`metrics.{name}` is measured with {kind_of(settings)}, so its name must begin with "
                f"{settings.metric_prefix}, to set it apart from published metrics; call it "
                f"{settings.metric_prefix}{name}."
            )
