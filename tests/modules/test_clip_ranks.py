"""The text-image encoder is validated among the samples of all processes, however many each has."""

import multiprocessing
from pathlib import Path

import torch

from datamodules.batch import ImageBatch
from mav_lightning.modules.clip_module import CLIPModule
from mav_lightning.nn.small_clip import SmallCLIP

CAPTIONS = ["a red circle", "a blue square", "a green cross"]


@torch.no_grad()
def embedded(rank: int, world: int) -> list[torch.Tensor]:
    """Embeddings and ids of every caption, as a process has them."""
    torch.manual_seed(0)
    module = CLIPModule(SmallCLIP(size=8, channels=8, width=8)).eval()
    pixels = torch.rand(3, 3, 8, 8) * 2 - 1
    return list(module._embedded(ImageBatch(pixels[rank::world], CAPTIONS[rank::world], CAPTIONS[rank::world])))


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(embedded(rank, 2), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_with_unequal_shares_see_the_samples_of_all(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=work, args=(rank, tmp_path)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]

    whole = embedded(0, 1)
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        for part, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(part, expected[[0, 2, 1]])  # the first process has the first and the last
