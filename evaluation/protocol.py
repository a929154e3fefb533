"""A protocol fixes every choice that moves a number; a metric's name means nothing without it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evaluation.extractors.kinds import KINDS as EXTRACTORS
from evaluation.extractors.kinds import ExtractorKind
from evaluation.fields import build
from evaluation.folders import Split
from evaluation.scores.base import Metric
from evaluation.scores.kinds import KINDS as METRICS
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError, did_you_mean
from mav_lightning.common.measures import MEASURES

__all__ = ["Generated", "Protocol", "Real", "Start", "known_protocols", "load_protocol", "parse_protocol"]

T = TypeVar("T")
FOLDER = conf_root() / "protocol"
_SHIPPED = "shapes-"  # begins the names of Shapes World's extractors, and of all distances measured with them
Start = Literal["first", "centre", "random"]


@dataclass(frozen=True)
class Generated:
    """Which generated clips count.

    Attributes:
        clips: How many, drawn by the seed from those there are; None takes all.
        start: Where in a clip that is longer than needed its frames begin.
    """

    clips: int | None
    start: Start


@dataclass(frozen=True)
class Real:
    """Which real clips count.

    Attributes:
        clips: How many; None takes one of every video that is long enough.
        start: Where in a video its frames begin.
        split: Part of a data set that has parts; other folders are taken whole.
        repeat: Whether several clips may be cut from one video where there are fewer videos than clips.
    """

    clips: int | None
    start: Start
    split: Split
    repeat: bool


@dataclass(frozen=True)
class Settings:
    """The fields of a protocol that are plain values.

    Attributes:
        frames: Frames of a clip; longer clips are cut.
        fps: The frame rates that count: videos are cut at these by time, generated clips have one of them. None where
            `stride` is given.
        stride: Every how-manieth stored frame is taken, whatever the rate. None where `fps` is given.
        size: Side of the square frames that every extractor is given, in pixels; None gives frames as they are stored.
        resize: ``box`` cuts the largest centred square and scales it, shrinking by area averaging.
        seed: Of everything drawn.
        batch: Clips an extractor sees at once, as this moves the last digit.
    """

    frames: int
    fps: tuple[float, ...] | None
    stride: int | None
    size: int | None
    resize: Literal["box"]
    seed: int
    batch: int


@dataclass(frozen=True)
class Protocol(Settings):
    """How clips are made into numbers.

    Attributes:
        name: The file's; not part of the hash.
        generated: Which generated clips count.
        real: Which real ones; None where no metric needs any.
        extractors: By the name that metrics call them.
        metrics: By the name of their numbers.
        measures: Version of the measuring code.
    """

    name: str
    generated: Generated
    real: Real | None
    extractors: Mapping[str, ExtractorKind]
    metrics: Mapping[str, Metric]
    measures: int = MEASURES

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over every field but the name: unlike hashes are not to be compared."""
        plain = {key: value for key, value in self._plain().items() if key != "name"}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, hash included, for results."""
        return self._plain() | {"hash": self.hash}

    def _plain(self) -> dict[str, Any]:
        plain = asdict(self)
        for part in ("extractors", "metrics"):
            plain[part] = {name: {"kind": one.kind} | asdict(one) for name, one in getattr(self, part).items()}
        return json.loads(json.dumps(plain))


def known_protocols() -> list[str]:
    """Names of the shipped protocols."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_protocol(name: str) -> Protocol:
    """Reads a shipped protocol by name, or one's own by the path of its YAML file.

    Raises:
        UserError: Unknown name; unknown, missing or unusable fields.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = known_protocols()
        raise UserError(f"no protocol `{name}`{did_you_mean(name, known)}; known: {', '.join(known)}, or a .yaml file.")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: not YAML ({error}); see {FOLDER} for examples.") from error
    return parse_protocol(path, values)


def parse_protocol(path: Path, values: Any) -> Protocol:
    """Makes a protocol of plain values.

    Args:
        path: Where they are from; its stem names the protocol.
        values: Field → value, without the name.

    Raises:
        UserError: Unknown, missing or unusable fields, or parts that do not fit together.
    """
    file = _File(path, values)
    real = file.values["real"]
    protocol = Protocol(
        name=path.stem,
        **vars(file.settings),
        generated=build(path, "generated.", Generated, file.values["generated"]),
        real=None if real is None else build(path, "real.", Real, real),
        extractors=file.parts("extractors", EXTRACTORS),
        metrics=file.parts("metrics", METRICS),
    )
    _demand_consistent(path, protocol)
    return protocol


class _File:
    """A protocol's file, part by part."""

    PARTS = ("generated", "real", "extractors", "metrics")

    def __init__(self, path: Path, values: Any) -> None:
        self.path = path
        if not isinstance(values, dict):
            raise UserError(f"{path}: `the file` must map names to values; got {values!r}.")
        known = [*(field.name for field in fields(Settings)), *self.PARTS]
        for key in values:
            if key not in known:
                raise UserError(f"{path}: unknown field `{key}`{did_you_mean(str(key), known)}.")
        if missing := [name for name in known if name not in values]:
            raise UserError(f"{path}: no `{missing[0]}`; a protocol names all of {', '.join(known)}.")
        self.values = values
        self.settings = build(
            path, "", Settings, {key: value for key, value in values.items() if key not in self.PARTS}
        )

    def parts(self, part: str, kinds: Mapping[str, type[T]]) -> dict[str, T]:
        """Name → settings of the kind that each names."""
        found = self.values[part]
        if not isinstance(found, dict) or not found:
            raise UserError(f"{self.path}: `{part}` must map one name or more to settings; got {found!r}.")
        made = {}
        for name, settings in found.items():
            if not isinstance(settings, dict) or not isinstance(settings.get("kind"), str):
                raise UserError(f"{self.path}: `{part}.{name}` must be settings with a `kind`; got {settings!r}.")
            kind, own = settings["kind"], {key: value for key, value in settings.items() if key != "kind"}
            if kind not in kinds:
                known = ", ".join(kinds)
                raise UserError(
                    f"{self.path}: `{part}.{name}.kind`: no `{kind}`{did_you_mean(kind, kinds)}; known: {known}."
                )
            made[str(name)] = build(self.path, f"{part}.{name}.", kinds[kind], own)
        return made


def _demand_consistent(path: Path, protocol: Protocol) -> None:
    if (protocol.fps is None) == (protocol.stride is None):
        raise UserError(
            f"{path}: exactly one of `fps` and `stride` must be given, the other null; got {protocol.fps} and "
            f"{protocol.stride}."
        )
    if protocol.real is not None and protocol.real.repeat and protocol.real.clips is None:
        raise UserError(f"{path}: `real.repeat` needs a number of `real.clips`; got null.")
    for name, metric in protocol.metrics.items():
        for role, extractor in metric.needs().items():
            kind = protocol.extractors.get(extractor)
            if kind is None:
                near = did_you_mean(extractor, protocol.extractors)
                raise UserError(f"{path}: `metrics.{name}.{role}` names no extractor: `{extractor}`{near}.")
            if kind.kind not in metric.takes(role):
                raise UserError(
                    f"{path}: `metrics.{name}.{role}`: an extractor of kind {kind.kind} cannot do this; it takes "
                    f"{', '.join(metric.takes(role))}."
                )
            if kind.kind.startswith(_SHIPPED) and not name.startswith(_SHIPPED):
                raise UserError(
                    f"{path}: `metrics.{name}` is measured with {kind.kind}, so its name must begin with {_SHIPPED}, "
                    f"lest it be taken for a published metric; call it {_SHIPPED}{name}."
                )
        if metric.needs_real and protocol.real is None:
            raise UserError(f"{path}: `metrics.{name}` needs real clips, but `real` is null; say which ones count.")
    used = {extractor for metric in protocol.metrics.values() for extractor in metric.needs().values()}
    if unused := [name for name in protocol.extractors if name not in used]:
        raise UserError(f"{path}: `extractors.{unused[0]}` is used by no metric; take it out, or name it in one.")
