"""Lightning data modules over shard folders: images for the spatial networks, clips for the temporal ones."""

from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from lightning import LightningDataModule

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import ClipDecoder, Decoder, ImageDecoder
from datamodules.fps_sampler import BetaFps, FpsSampler
from datamodules.index import Index, load_index
from datamodules.order import EvalOrder, TrainOrder
from datamodules.reader import EvalLoader, SampleReader, TrainLoader
from datamodules.streaming import StreamingLoader, shard_urls
from mav_lightning.common.errors import UserError

__all__ = ["ClipData", "ImageData", "ShardData"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)


class ShardData(LightningDataModule, Generic[B]):
    """What both data modules share: finding the shards, choosing a reader, splitting over ranks.

    Training is an endless stream of passes, to be stopped by the trainer's `max_steps`; validation reads the same cuts
    of the same samples every time, each exactly once over all ranks.

    Args:
        root: A data set, holding ``<kind>/train`` and ``<kind>/val``, or such a ``<kind>`` folder itself. With the
            streaming reader also a brace pattern of shards, as ``https://host/{00000..00099}.tar``; these are trained
            on, and there is no validation.
        kind: ``images`` or ``clips``.
        decoder: What the samples become.
        batch_size: Samples in a batch, on each rank.
        seed: Of order and cuts; the same seed gives the same batches on any number of workers.
        workers: Processes that read ahead; 0 reads in the training process.
        reader: ``indexed`` resumes exactly; ``streaming`` reads remote shards through webdataset, and does not.
        cache_mb: Memory for decoded training frames in MiB, shared out among the workers; it changes the speed only.
        embeddings: Id of a CLIP of which `mav data embed` has left image embeddings beside the shards: the batches
            carry them. None leaves embedding to the training.

    Raises:
        UserError: Another reader, or embeddings for a stream, whose samples have no place in a table.
    """

    def __init__(
        self,
        root: str | Path,
        kind: Literal["images", "clips"],
        decoder: Decoder[B],
        batch_size: int,
        seed: int,
        workers: int,
        reader: Literal["indexed", "streaming"],
        cache_mb: int,
        embeddings: str | None,
    ) -> None:
        super().__init__()
        if reader not in ("indexed", "streaming"):
            raise UserError(f"reader: must be `indexed` or `streaming`, got `{reader}`.")
        if reader == "streaming" and embeddings is not None:
            raise UserError("embeddings: lie beside indexed shards; use reader=indexed, or embeddings=null.")
        self.embeddings = embeddings
        self.root, self.kind, self.decoder = root, kind, decoder
        self.batch_size, self.seed, self.workers, self.reader = batch_size, seed, workers, reader
        self.cache_bytes = (cache_mb << 20) // max(workers, 1)

    @property
    def index_sha256(self) -> str:
        """Identity of the training shards' content."""
        return self._index("train").sha256

    def setup(self, stage: str) -> None:
        """Opens the training shards, so that a mistake shows before anything is built on them."""
        if stage == "fit" and self.reader == "indexed":
            _ = self._train

    def train_dataloader(self) -> TrainLoader[B] | StreamingLoader[B]:
        """Endless training batches, this rank's share."""
        rank, world = self._place
        if self.reader == "streaming":
            urls = shard_urls(self.root if self._is_pattern else self._folder("train"))
            return StreamingLoader(urls, self.decoder, self.batch_size, self.seed, rank, world, self.workers)
        order = TrainOrder(len(self._train.samples), self.batch_size, self.seed, rank, world)
        return TrainLoader(self._train, order, self.workers)

    def val_dataloader(self) -> EvalLoader[B] | list[B]:
        """Validation batches, this rank's share; nothing where there is no ``val`` folder."""
        if self._is_pattern or not self._folder("val", required=False).is_dir():
            return []
        samples = SampleReader(self._index("val"), self.decoder, seed=0, encoder=self.embeddings)
        return EvalLoader(samples, EvalOrder(len(samples.samples), self.batch_size, *self._place), self.workers)

    @cached_property
    def _train(self) -> SampleReader[B]:
        return SampleReader(self._index("train"), self.decoder, self.seed, self.cache_bytes, encoder=self.embeddings)

    @property
    def _is_pattern(self) -> bool:
        return self.reader == "streaming" and str(self.root).endswith(".tar")

    @property
    def _place(self) -> tuple[int, int]:
        """Rank and number of processes; alone without a trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _index(self, split: str) -> Index:
        return load_index(self._folder(split))

    def _folder(self, split: str, required: bool = True) -> Path:
        places = [Path(self.root) / self.kind / split, Path(self.root) / split]
        found = next((place for place in places if place.is_dir()), None)
        if found is None and required:
            raise UserError(
                f"{self.root}: holds neither `{self.kind}/{split}` nor `{split}`; write shards with `mav data shapes "
                f"--out {self.root}` or `mav data pack`."
            )
        return found or places[0]


class ImageData(ShardData[ImageBatch]):
    """Captioned still images.

    Args:
        root: A data set, holding ``images/train`` and ``images/val``, or such an ``images`` folder itself; see
            `ShardData` for remote shards.
        size: Side of the square images, in pixels; the short side is scaled to it, the long side cut around the centre.
        batch_size: Images in a batch, on each rank.
        seed: Of the order.
        workers: Processes that read ahead; 0 reads in the training process.
        reader: ``indexed`` or ``streaming``.
        cache_mb: Memory for decoded training frames in MiB; worth it where a whole data set fits.
        captioned: Leaves out images without a text. If False, no text is read and the batches have none.
        embeddings: As `ShardData`.
    """

    def __init__(
        self,
        root: str | Path,
        size: int,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        reader: Literal["indexed", "streaming"] = "indexed",
        cache_mb: int = 0,
        captioned: bool = True,
        embeddings: str | None = None,
    ) -> None:
        decoder = ImageDecoder(size, captioned)
        super().__init__(root, "images", decoder, batch_size, seed, workers, reader, cache_mb, embeddings)


class ClipData(ShardData[ClipBatch]):
    """Unlabelled clips cut from videos by time.

    Args:
        root: A data set, holding ``clips/train`` and ``clips/val``, or such a ``clips`` folder itself; see `ShardData`
            for remote shards.
        size: Side of the square frames, in pixels; the short side is scaled to it, the long side cut around the centre.
        frames: Frames T of a clip.
        fps: Draws each clip's frame rate; its histogram of trained rates is kept in checkpoints.
        batch_size: Clips in a batch, on each rank.
        seed: Of order, rates and starts.
        workers: Processes that read ahead; 0 reads in the training process.
        reader: ``indexed`` or ``streaming``.
        cache_mb: Memory for decoded training frames in MiB; worth it where a whole data set fits.
        embeddings: As `ShardData`; one for each video, whatever is cut from it.

    Raises:
        UserError: A curriculum for a stream, which does not know how far training is.
    """

    def __init__(
        self,
        root: str | Path,
        size: int,
        frames: int,
        fps: FpsSampler,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        reader: Literal["indexed", "streaming"] = "indexed",
        cache_mb: int = 0,
        embeddings: str | None = None,
    ) -> None:
        if reader == "streaming" and isinstance(fps, BetaFps):
            raise UserError(
                "reader: a streaming reader does not know how far training is, so the fps curriculum would start anew "
                "after every restart; use reader=indexed, or UniformFps."
            )
        decoder = ClipDecoder(size, frames, fps)
        super().__init__(root, "clips", decoder, batch_size, seed, workers, reader, cache_mb, embeddings)
        self.fps = fps

    def on_before_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Counts the rates of training batches, in the training process: the workers' samplers are copies."""
        if self.trainer is not None and self.trainer.training:
            self.fps.record(batch.fps.tolist())
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The state of the fps sampler."""
        return {"fps": self.fps.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self.fps.load_state_dict(state_dict["fps"])
