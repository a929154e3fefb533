import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.diffusion_prior import DiffusionPrior
from mav_lightning.nn.prior_transformer import PriorTransformer


def captions(count: int, words: int = 3, length: int = 5, channels: int = 8) -> Tensor:
    rows = torch.randn(count, 1 + length, channels, generator=torch.Generator().manual_seed(0))
    rows[:, 0] = F.normalize(rows[:, 0], dim=-1)
    rows[:, 1 + words :] = 0
    return rows


def transformer() -> PriorTransformer:
    torch.manual_seed(0)
    net = PriorTransformer(channels=8, length=5, width=16, layers=2, heads=2)
    nn.init.normal_(net.out_proj.weight)
    return net.eval()


def test_it_reads_every_word_and_nothing_of_the_padding() -> None:
    net, text = transformer(), captions(2)
    x, noise = torch.randn(2, 8), torch.zeros(2)
    base = net(x, noise, text)
    other = text.clone()
    other[:, 2] += 1
    assert not torch.allclose(net(x, noise, other), base)
    short = PriorTransformer(channels=8, length=3, width=16, layers=2, heads=2)
    weights = net.state_dict()
    kept = torch.cat([weights["positions"][:4], weights["positions"][-3:]])
    short.load_state_dict({**weights, "positions": kept})
    torch.testing.assert_close(short.eval()(x, noise, text[:, :4]), base)


def test_without_text_it_still_predicts_and_differs_from_with_text() -> None:
    net, text = transformer(), captions(2)
    x, noise = torch.randn(2, 8), torch.zeros(2)
    without = net(x, noise, torch.zeros_like(text))
    assert torch.isfinite(without).all() and not torch.allclose(without, net(x, noise, text))


def test_an_embedding_depends_on_its_own_caption_and_seed_alone() -> None:
    prior, text = DiffusionPrior(transformer(), steps=4), captions(3)
    together = prior.predict(text, [1, 2, 3])
    torch.testing.assert_close(prior.predict(text[1:2], [2])[0], together[1])
    assert not torch.allclose(prior.predict(text[1:2], [4])[0], together[1])
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))


def test_of_several_candidates_the_one_nearest_to_the_text_is_kept() -> None:
    text = captions(16)
    similarities = [
        (DiffusionPrior(transformer(), steps=4, candidates=count).predict(text, range(16)) * text[:, 0]).sum(-1)
        for count in (1, 8)
    ]
    assert (similarities[1] >= similarities[0] - 1e-6).all()  # the single candidate is the first of the eight
    assert float(similarities[1].mean()) > float(similarities[0].mean())


def test_it_learns_which_embeddings_belong_to_a_text() -> None:
    """Two texts, each with two possible image embeddings: samples must be one of the two, not their mean."""
    torch.manual_seed(0)
    text = captions(2)
    images = F.normalize(torch.randn(2, 2, 8), dim=-1)
    prior = DiffusionPrior(PriorTransformer(channels=8, length=5, width=32, layers=2, heads=2), steps=12, candidates=1)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=3e-3)
    for _ in range(400):
        which, mode = torch.randint(2, (64,)), torch.randint(2, (64,))
        loss = prior.loss(images[which, mode] * 8**0.5, (1.2 * torch.randn(64)).exp(), text[which]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for which in (0, 1):
        drawn = prior.predict(text[which : which + 1].expand(32, -1, -1), range(32))
        nearness, chosen = (drawn @ images[which].T).max(dim=1)
        assert float((nearness > 0.95).float().mean()) > 0.9
        assert 4 < int(chosen.sum()) < 28  # both are drawn


def test_no_candidates_are_refused() -> None:
    with pytest.raises(UserError, match="candidates: must be .*, got 0"):
        DiffusionPrior(transformer(), candidates=0)
