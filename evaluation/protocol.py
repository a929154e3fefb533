"""A protocol fixes every choice that moves a number; a metric's name means nothing without it."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evaluation.statistics import Divisor
from mav_lightning.common.conf import conf_root
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["Extractor", "Protocol", "known_protocols", "load_protocol", "parse_protocol"]

FOLDER = conf_root() / "protocol"
MEASURES = 1  # raised whenever a change of code moves a number
Resize = Literal["box"]


@dataclass(frozen=True)
class Extractor:
    """A network by name, pinned to the bytes of its weights.

    Attributes:
        name: Key of `evaluation.extractors.store.EXTRACTORS`.
        sha256: Of its weights file.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Protocol:
    """How clips are made into numbers.

    Attributes:
        name: The file's; not part of the hash.
        size: Side of the square frames that everything sees, in pixels.
        frames: Frames of a clip; longer clips are cut.
        fps: The frame rates that count. Generated clips have one of them; real clips are cut at the same.
        image: Extractor of ``<image>-fid`` and appearance.
        video: Extractor of ``<video>-fvd``.
        text: Extractor of ``<text>-clipsim``.
        resize: ``box`` scales the short side by area averaging, then crops the centre.
        divisor: Of the covariance.
        real_clips: How many clips are cut from the real videos, several from one where there are fewer videos.
        seed: Of their start times.
        batch: Clips an extractor sees at once, as this moves the last digit.
        measures: Version of the measuring code.
    """

    name: str
    size: int
    frames: int
    fps: tuple[float, ...]
    image: Extractor
    video: Extractor
    text: Extractor
    resize: Resize
    divisor: Divisor
    real_clips: int
    seed: int
    batch: int
    measures: int = MEASURES

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over every field but the name: unlike hashes are not to be compared."""
        plain = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, hash included, for results."""
        return json.loads(json.dumps(asdict(self))) | {"hash": self.hash}


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
        UserError: Unknown, missing or unusable fields.
    """
    wanted = {field.name: field for field in fields(Protocol) if field.name not in ("name", "measures")}
    _demand_keys(path, "", values, wanted)
    for key in ("image", "video", "text"):
        _demand_keys(path, f"{key}.", values[key], {field.name: field for field in fields(Extractor)})
        values[key] = Extractor(**{name: str(value) for name, value in values[key].items()})
    for key in ("size", "frames", "real_clips", "batch"):
        _demand(path, key, values[key], isinstance(values[key], int) and values[key] > 0, "a positive whole number")
    _demand(path, "seed", values["seed"], isinstance(values["seed"], int), "a whole number")
    for key, choices in (("resize", get_args(Resize)), ("divisor", get_args(Divisor))):
        _demand(path, key, values[key], values[key] in choices, f"one of {', '.join(choices)}")
    rates = values["fps"] if isinstance(values["fps"], list) else []
    right = bool(rates) and all(isinstance(rate, int | float) and rate > 0 for rate in rates)
    _demand(path, "fps", values["fps"], right, "a list of positive frame rates, e.g. [4, 8, 16]")
    return Protocol(name=path.stem, **values | {"fps": tuple(float(rate) for rate in rates)})


def _demand_keys(path: Path, prefix: str, values: Any, wanted: dict[str, Any]) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{path}: `{prefix.rstrip('.') or 'the file'}` must map names to values; got {values!r}.")
    for key in values:
        if key not in wanted:
            raise UserError(f"{path}: unknown field `{prefix}{key}`{did_you_mean(str(key), wanted)}.")
    if missing := [key for key in wanted if key not in values]:
        raise UserError(f"{path}: no `{prefix}{missing[0]}`; a protocol names all of {', '.join(wanted)}.")


def _demand(path: Path, key: str, value: Any, right: bool, wanted: str) -> None:
    if not right:
        raise UserError(f"{path}: `{key}` must be {wanted}; got {value!r}.")
