"""Results from outside a study that its report shows: people's preferences, or another benchmark's scores."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mav_lightning.ablation.report.text import decimals
from mav_lightning.common.errors import UserError
from mav_lightning.common.escaping import file_name
from mav_lightning.common.json_files import write_json
from mav_lightning.common.schema import NonNegativeInt, build, check, read_json

__all__ = ["add_results", "added_results"]

_FOLDER = "added"


@dataclass(frozen=True)
class AddedScore:
    """One number of added results.

    Attributes:
        value: The number. None if it could not be measured.
        interval: 95 % confidence interval. None if there is none.
        n: Number of clips or pairs that were counted.
        better: Which values are better.
        unit: Unit of value and interval.
        interval_kind: How the interval was computed.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: NonNegativeInt
    better: Literal["lower", "higher", "one", "neither"]
    unit: str
    interval_kind: str = ""


def add_results(study: Path, file: Path) -> None:
    """Copy a file of results into a study, so that this and all later reports show it.

    Args:
        study: Folder of the study.
        file: A file with ``title``, ``origin`` and ``metrics``, as `mav rate --collect` and `mav evaluate --import`
            write it.

    Raises:
        UserError: If the file is missing or of another kind.
    """
    content = _read(file)
    write_json(study / _FOLDER / f"{file_name(content['title'])}.json", content)


def added_results(study: Path) -> list[dict[str, Any]]:
    """Return title, origin and rows of everything that was added to a study.

    Raises:
        UserError: If a file was damaged.
    """
    return [_shown(_read(file)) for file in sorted((study / _FOLDER).glob("*.json"))]


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(file, dict[str, Any], "name a file of results")
    for key, hint in (("title", str), ("origin", dict[str, str]), ("metrics", dict[str, dict[str, Any]])):
        if key not in content:
            raise UserError(
                f"{file}: has no `{key}`; name a file that `mav rate --collect` or `mav evaluate --import` wrote."
            )
        check(content[key], hint, f"{file}: {key}")
    for name, score in content["metrics"].items():
        build(AddedScore, score, f"{file}: metrics.{name}")
    return content


def _shown(content: dict[str, Any]) -> dict[str, Any]:
    scores = {name: build(AddedScore, score, name) for name, score in content["metrics"].items()}
    rows = [{"metric": name, "digits": decimals([one.value])} | asdict(one) for name, one in scores.items()]
    return {"title": content["title"], "origin": content["origin"], "rows": rows}
