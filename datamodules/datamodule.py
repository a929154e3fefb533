"""Lightning data modules over shard folders: images for the spatial networks, clips for the temporal ones."""

import hashlib
import json
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from lightning import LightningDataModule

from datamodules.batch import ClipBatch, ImageBatch
from datamodules.decoders import Captions, ClipDecoder, Decoder, DrawnCaptionDecoder, ImageDecoder
from datamodules.fps_sampler import BetaFps, FpsSampler
from datamodules.latent_cache import latents_name
from datamodules.order import EvalOrder
from datamodules.reader import TIMEOUT, EvalLoader, Samples, TrainLoader
from datamodules.remote import StreamLimits
from datamodules.shard_urls import shard_urls
from datamodules.sources import DatasetFolder, Root, open_root, report_same_samples
from datamodules.streaming import StreamingLoader
from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveFloat, PositiveInt, Seed

__all__ = ["ClipData", "ImageData", "ShardData"]

B = TypeVar("B", bound=ImageBatch | ClipBatch)
Reader: TypeAlias = Literal["indexed", "streaming"]


class ShardData(LightningDataModule, Generic[B]):
    """Base of both data modules: finds the shards, chooses a reader and splits the samples over ranks.

    Training batches are an endless stream of passes, to be stopped by the trainer's `max_steps`. Evaluation reads the
    same crops of the same samples every time, each exactly once over all ranks.

    Args:
        root: Dataset folder with ``<kind>/train`` and ``<kind>/val``, or such a ``<kind>`` folder itself. With the
            streaming reader also a brace pattern of shards, such as ``https://host/{00000..00099}.tar``; these are
            trained on, and there is no validation. With the indexed reader also a mixture, name → ``{path, weight,
            where}``; see `WeightedDataset`.
        kind: ``images`` or ``clips``.
        decoder: Turns encoded samples into examples, and examples into batches.
        batch_size: Samples per batch on each rank.
        seed: Seed of order and crops; the same seed gives the same batches with any number of workers.
        workers: Processes that read ahead. 0 reads in the training process.
        reader: ``indexed`` resumes exactly; ``streaming`` reads remote shards through webdataset and does not.
        cache_mb: Memory for decoded training frames in MiB, divided among the workers. It affects speed only.
        embeddings: Id of the CLIP whose image embeddings `mav data embed` has stored next to the shards; batches then
            carry them. None leaves embedding to the training module.
        timeout: Seconds without any movement of the workers, which then are stuck on disk or network, after which
            training ends with the shards that they were reading.
        limits: Limits of remote shards. None takes the defaults; only for the streaming reader.
        where: Condition on the metadata of the samples that are read, in all splits, such as ``pwatermark <= 0.5``; see
            `datamodules.selection.select`. None reads all; only for the indexed reader.
        latents: Id of the latents that `mav data encode` stored next to the shards, see `latents_name`;
            batches then hold them in place of pixels. None reads pixels.

    Raises:
        UserError: A value is out of range, or an argument has no effect with the streaming reader.
    """

    @checked
    def __init__(
        self,
        root: Root,
        kind: Literal["images", "clips"],
        decoder: Decoder[B],
        batch_size: PositiveInt,
        seed: Seed,
        workers: NonNegativeInt,
        reader: Reader,
        cache_mb: NonNegativeInt,
        embeddings: str | None,
        timeout: PositiveFloat,
        limits: StreamLimits | None,
        where: str | None = None,
        latents: str | None = None,
    ) -> None:
        super().__init__()
        for name, cached in (("embeddings", embeddings), ("latents", latents)):
            if reader == "streaming" and cached is not None:
                raise UserError("are stored for indexed shards only; use reader=indexed or None.", argument=name)
        if reader == "streaming" and cache_mb:
            raise UserError("has no effect on the streaming reader; use reader=indexed or 0.", argument="cache_mb")
        if reader == "streaming" and where is not None:
            raise UserError("needs the index of the shards; use reader=indexed or None.", argument="where")
        if reader == "streaming" and not isinstance(root, str | Path):
            raise UserError("several datasets need an index; use reader=indexed or one dataset.", argument="root")
        if reader == "indexed" and limits is not None:
            raise UserError("have no effect on the indexed reader; use reader=streaming or None.", argument="limits")
        self.latents = latents
        self.embeddings, self.timeout, self.limits = embeddings, timeout, limits or StreamLimits()
        self.root, self.kind, self.decoder = root, kind, decoder
        self.batch_size, self.seed, self.workers, self.reader = batch_size, seed, workers, reader
        self.cache_bytes = (cache_mb << 20) // max(workers, 1)
        self._source, self._readers = open_root(root, kind, where), dict[str, Samples[B]]()

    def setup(self, stage: str | None = None) -> None:
        """Open the shards and plan the batches, so that a mistake is reported before the model is built.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``. None prepares all of them.
        """
        if stage in (None, "fit"):
            self.train_dataloader()
        if stage in (None, "fit", "validate"):
            self.val_dataloader()

    def content_sha256(self) -> dict[str, str]:
        """Return ``root`` → sha256 of the training and validation samples; empty with the streaming reader."""
        if self.reader == "streaming":
            return {}
        splits = {name: self._samples(name).sha256 for name in ("train", "val") if name == "train" or self._has(name)}
        return {"root": hashlib.sha256(json.dumps(splits).encode()).hexdigest()}

    def train_dataloader(self) -> TrainLoader[B] | StreamingLoader[B]:
        """Return endless training batches: this rank's part."""
        rank, world = self._place
        if self.reader == "streaming":
            assert isinstance(self._source, DatasetFolder)  # several need an index
            urls = shard_urls(str(self.root) if self._is_pattern else self._source.folder("train"))
            limits, timeout = self.limits, self.timeout
            return StreamingLoader(
                urls, self.decoder, self.batch_size, self.seed, rank, world, self.workers, limits, timeout
            )
        samples = self._samples("train")
        order = samples.train_order(self.batch_size, self.seed, rank, world)
        return TrainLoader(samples, order, self.workers, self.timeout)

    def val_dataloader(self) -> EvalLoader[B] | list[B]:
        """Return the validation split, each sample once over all ranks; empty if there is no such split."""
        return self._eval_loader("val") if self._has("val") else []

    def test_dataloader(self) -> EvalLoader[B]:
        """Return the ``test`` split if there is one, else the validation split, each sample once over all ranks.

        Raises:
            UserError: There is neither split.
        """
        for split in ("test", "val"):
            if self._has(split):
                return self._eval_loader(split)
        raise UserError("holds neither a `test` nor a `val` split to evaluate on.", argument="root")

    def predict_dataloader(self) -> EvalLoader[B]:
        """Return the same batches as `test_dataloader`, for ``trainer.predict``."""
        return self.test_dataloader()

    def _eval_loader(self, split: str) -> EvalLoader[B]:
        samples = self._samples(split)
        report_same_samples(split, samples, self._readers.get("train"))
        order = EvalOrder(len(samples), self.batch_size, *self._place)
        return EvalLoader(samples, order, self.workers, self.timeout)

    def _samples(self, split: str) -> Samples[B]:
        if split not in self._readers:
            seed, cache_bytes = (self.seed, self.cache_bytes) if split == "train" else (0, 0)
            self._readers[split] = self._source.reader(
                split, self.decoder, seed, cache_bytes, self.embeddings, latents=self.latents
            )
        return self._readers[split]

    def _has(self, split: str) -> bool:
        return not self._is_pattern and self._source.has(split)

    @property
    def _is_pattern(self) -> bool:
        return self.reader == "streaming" and str(self.root).endswith(".tar")

    @property
    def _place(self) -> tuple[int, int]:
        """Rank and number of processes; (0, 1) without a trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class ImageData(ShardData[ImageBatch]):
    """Captioned still images.

    Args:
        root: Dataset folder with ``images/train`` and ``images/val``, or such an ``images`` folder itself; see
            `ShardData` for remote shards.
        size: Side of the square images in pixels; the largest centered square is cropped and resized.
        batch_size: Images per batch on each rank.
        seed: Seed of the order.
        workers: Processes that read ahead. 0 reads in the training process.
        reader: ``indexed`` resumes exactly; ``streaming`` reads remote shards and does not.
        cache_mb: Memory for decoded training images in MiB; pays off where the whole dataset fits.
        captioned: If True, images without a text are left out. If False, no text is read and batches have no captions.
        embeddings: Id of the CLIP whose stored image embeddings are read; see `ShardData`. None reads none.
        timeout: Seconds after which stuck workers end training; see `ShardData`.
        limits: What servers of remote shards may do; see `ShardData`. None takes the defaults.
        where: Condition on the samples' metadata; see `ShardData`. None reads all.
        captions: ``first`` takes the one caption that all programs take. ``drawn`` draws one of the list in the
            ``.json`` for each sample and pass, by the seed.
        latents: Id of the autoencoder whose stored latents are read in place of pixels; see `ShardData`.

    Raises:
        UserError: A value is out of range, or an argument has no effect with the streaming reader.
    """

    @checked
    def __init__(
        self,
        root: Root,
        size: PositiveInt,
        batch_size: PositiveInt,
        seed: Seed = 0,
        workers: NonNegativeInt = 0,
        reader: Reader = "indexed",
        cache_mb: NonNegativeInt = 0,
        captioned: bool = True,
        embeddings: str | None = None,
        timeout: PositiveFloat = TIMEOUT,
        limits: StreamLimits | None = None,
        where: str | None = None,
        captions: Captions = "first",
        latents: str | None = None,
    ) -> None:
        if captions == "drawn" and not captioned:
            raise UserError("has no effect without captions; use captioned=true or first.", argument="captions")
        decoder = (DrawnCaptionDecoder if captions == "drawn" else ImageDecoder)(size, captioned)
        super().__init__(
            root, "images", decoder, batch_size, seed, workers, reader, cache_mb, embeddings, timeout, limits, where,
            None if latents is None else latents_name(latents, size),
        )  # fmt: skip


class ClipData(ShardData[ClipBatch]):
    """Data module of clips without captions, cut from videos at times that fit a sampled frame rate.

    Args:
        root: Dataset folder with ``clips/train`` and ``clips/val``, or such a ``clips`` folder itself; see `ShardData`
            for remote shards.
        size: Side of the square frames in pixels; the largest centered square is cropped and resized.
        frames: Frames T per clip.
        fps: Samples each clip's frame rate; its histogram of trained rates is kept in checkpoints.
        batch_size: Clips per batch on each rank.
        seed: Seed of order, frame rates and start times.
        workers: Processes that read ahead. 0 reads in the training process.
        reader: ``indexed`` resumes exactly; ``streaming`` reads remote shards and does not.
        cache_mb: Memory for decoded training frames in MiB; pays off where the whole dataset fits.
        embeddings: Id of the CLIP whose stored image embeddings are read, one for each video whatever is cut from it;
            see `ShardData`. None reads none.
        timeout: Seconds after which stuck workers end training; see `ShardData`.
        limits: What servers of remote shards may do; see `ShardData`. None takes the defaults.
        where: Condition on the samples' metadata; see `ShardData`. None reads all.
        latents: Id of the autoencoder whose stored latents are read in place of pixels; see `ShardData`.

    Raises:
        UserError: A value is out of range, an argument has no effect with the streaming reader, or a curriculum of
            frame rates is combined with it, which does not know the training progress.
    """

    @checked
    def __init__(
        self,
        root: Root,
        size: PositiveInt,
        frames: PositiveInt,
        fps: FpsSampler,
        batch_size: PositiveInt,
        seed: Seed = 0,
        workers: NonNegativeInt = 0,
        reader: Reader = "indexed",
        cache_mb: NonNegativeInt = 0,
        embeddings: str | None = None,
        timeout: PositiveFloat = TIMEOUT,
        limits: StreamLimits | None = None,
        where: str | None = None,
        latents: str | None = None,
    ) -> None:
        if isinstance(fps, int | float | str) or not hasattr(fps, "sample"):
            raise UserError(f"must be a sampler such as UniformFps(low=4, high=16), got {fps!r}.", argument="fps")
        if reader == "streaming" and isinstance(fps, BetaFps):
            raise UserError(
                "the streaming reader does not know the training progress, so the frame rate curriculum would restart "
                "with every run; use reader=indexed or UniformFps.",
                argument="reader",
            )
        decoder = ClipDecoder(size, frames, fps)
        super().__init__(
            root, "clips", decoder, batch_size, seed, workers, reader, cache_mb, embeddings, timeout, limits, where,
            None if latents is None else latents_name(latents, size),
        )  # fmt: skip
        self.fps = fps

    def on_before_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Count the frame rates of training batches, in the training process because workers hold copies."""
        if self.trainer is not None and self.trainer.training:
            self.fps.record(batch.fps.tolist())
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the frame rate sampler."""
        return {"fps": self.fps.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the frame rate sampler."""
        self.fps.load_state_dict(state_dict["fps"])
