"""Where a data module's samples come from: one dataset, or several with weights; one reader for each split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Decoder
from datamodules.index import load_index
from datamodules.mixture import MixtureReader
from datamodules.sample_reader import SampleReader
from datamodules.where import Where
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, check
from mav_lightning.common.terminal import SafeLog
from mav_lightning.media.listing import is_folder

__all__ = ["DatasetFolder", "DatasetMixture", "Root", "WeightedDataset", "open_root", "report_same_samples"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)
_Samples: TypeAlias = SampleReader[Any] | MixtureReader[Any]
log = SafeLog(__name__)


@dataclass(frozen=True)
class WeightedDataset:
    """One dataset of a mixture.

    Attributes:
        path: Folder of the dataset.
        weight: How often the dataset's samples are drawn in training, relative to the other datasets.
        where: Condition on the metadata of its samples; see `Where`. None reads all.

    Raises:
        UserError: A value is out of range.
    """

    path: Path
    weight: PositiveFloat
    where: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self)


Root: TypeAlias = str | Path | Mapping[str, WeightedDataset]


class DatasetFolder:
    """One dataset on disk: folders of indexed shards, and which of their samples are read.

    Args:
        root: Folder with ``<kind>/<split>``, or such a ``<kind>`` folder itself.
        kind: ``images`` or ``clips``.
        where: Condition on the metadata of samples; see `Where`. None reads all.

    Raises:
        UserError: The condition cannot be read.
    """

    def __init__(self, root: Path, kind: str, where: str | None = None) -> None:
        self.root, self.kind = root, kind
        self.where = None if where is None else Where(where)

    def has(self, split: str) -> bool:
        """Return whether there is a folder of a split: ``train``, ``val`` or ``test``."""
        return any(map(is_folder, self._places(split)))

    def folder(self, split: str) -> Path:
        """Return the folder of a split.

        Raises:
            UserError: There is none.
        """
        found = next(filter(is_folder, self._places(split)), None)
        if found is None:
            raise UserError(
                f"{self.root}: holds neither `{self.kind}/{split}` nor `{split}`; write shards with `mav data shapes "
                f"--out {self.root}` or `mav data pack`."
            )
        return found

    def reader(
        self,
        split: str,
        decoder: Decoder[B],
        seed: int,
        cache_bytes: int = 0,
        encoder: str | None = None,
        name: str = "",
        latents: str | None = None,
    ) -> SampleReader[B]:
        """Return a reader of the samples of a split; see `SampleReader` for the arguments.

        Raises:
            UserError: There is no such split, its index does not fit, or no sample can be used.
        """
        index = load_index(self.folder(split))
        return SampleReader(
            index, decoder, seed, cache_bytes, encoder=encoder, where=self.where, name=name, latents=latents
        )

    def _places(self, split: str) -> list[Path]:
        return [self.root / self.kind / split, self.root / split]


class DatasetMixture:
    """Several datasets, whose training samples are taken by weight; in evaluation every sample counts once.

    Args:
        parts: Name → dataset. The order does not matter, the name does: it starts the keys of the samples.
        kind: ``images`` or ``clips``.

    Raises:
        UserError: There is no dataset, a name cannot be used, or a condition cannot be read.
    """

    def __init__(self, parts: Mapping[str, WeightedDataset], kind: str) -> None:
        if not parts:
            raise UserError("names no dataset; give a folder, or one or more datasets with weights.", argument="root")
        self.weights = {name: part.weight for name, part in parts.items()}
        self.folders = dict[str, DatasetFolder]()
        for name, part in parts.items():
            if not name or "/" in name:
                raise UserError(f"`{name}` cannot name a dataset; use letters and digits.", argument="root")
            try:
                self.folders[name] = DatasetFolder(part.path, kind, part.where)
            except UserError as error:
                raise UserError(error.message, argument=f"root.{name}.where") from error

    def has(self, split: str) -> bool:
        """Return whether any dataset has a split."""
        return any(folder.has(split) for folder in self.folders.values())

    def reader(
        self,
        split: str,
        decoder: Decoder[B],
        seed: int,
        cache_bytes: int = 0,
        encoder: str | None = None,
        latents: str | None = None,
    ) -> MixtureReader[B]:
        """Return a reader of the samples of a split of all datasets; all need ``train``, other splits are optional.

        Raises:
            UserError: A dataset has no such split or none of its samples can be used, or two hold the same samples.
        """
        share = cache_bytes // len(self.folders)
        readers = {
            name: folder.reader(split, decoder, seed, share, encoder, name, latents)
            for name, folder in self.folders.items()
            if split == "train" or folder.has(split)
        }
        found: dict[str, str] = {}
        for name, reader in readers.items():
            if (other := found.setdefault(reader.sha256, name)) != name:
                raise UserError(
                    f"`{other}` and `{name}` hold the same samples; name them once, with the sum of the weights.",
                    argument="root",
                )
        return MixtureReader(readers, self.weights)


def report_same_samples(split: str, samples: _Samples, trained: _Samples | None) -> None:
    """Warn if the samples of a split are those of the training split, for example because of a link.

    Args:
        split: Name of the split, for the message.
        samples: Samples of the split.
        trained: Training samples. None if they are not read.
    """
    if trained is not None and trained.sha256 == samples.sha256:
        log.warning("the split %s holds the same samples as train, so its loss does not reveal overfitting.", split)


def open_root(root: Root, kind: str, where: str | None) -> DatasetFolder | DatasetMixture:
    """Return the folder or mixture that a data module's argument `root` describes.

    Args:
        root: Folder of a dataset, or datasets of a mixture by name; these may also be plain mappings.
        kind: ``images`` or ``clips``.
        where: Condition on the samples of a single dataset. None reads all.

    Raises:
        UserError: The datasets cannot be mixed, or a condition cannot be read.
    """
    if isinstance(root, str | Path):
        return DatasetFolder(Path(root), kind, where)
    if where is not None:
        raise UserError("has no effect on a mixture; give each dataset its own.", argument="where")
    parts = check(dict(root), dict[str, WeightedDataset], "root", node=lambda value, hint, path: value)
    return DatasetMixture(parts, kind)
