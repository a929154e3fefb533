import pytest
import torch

from mav_lightning.nn.ridge_prior import RidgePrior
from mav_lightning.nn.small_clip import SmallCLIP, tokenize


def test_case_and_punctuation_do_not_matter() -> None:
    ids = tokenize(["A red circle.", "a RED, circle"], length=6, vocabulary=512)
    assert torch.equal(ids[0], ids[1])
    assert ids[0, 3:].tolist() == [0, 0, 0]


def test_long_captions_are_cut_and_empty_ones_embed() -> None:
    torch.manual_seed(0)
    clip = SmallCLIP(length=4).eval()
    texts = clip.encode_text(["one two three four five", "one two three four", ""])
    torch.testing.assert_close(texts[0], texts[1])
    assert texts.isfinite().all()


def test_embeddings_have_unit_length_for_images_of_any_size() -> None:
    clip = SmallCLIP(size=16)
    for size in (8, 16, 64):
        torch.testing.assert_close(clip.encode_image(torch.randn(2, 3, size, size)).norm(dim=1), torch.ones(2))


def test_padding_does_not_change_a_caption() -> None:
    torch.manual_seed(0)
    clip = SmallCLIP(length=16).eval()
    alone = clip.encode_text(["a red circle"])
    together = clip.encode_text(["a red circle", "a much longer caption about one blue cross on light ground"])
    torch.testing.assert_close(together[:1], alone)


def test_words_stand_behind_their_caption_and_nothing_behind_them() -> None:
    torch.manual_seed(0)
    clip = SmallCLIP(length=5).eval()
    rows = clip.encode_words(["a red circle", "", "one two three four five six"])
    assert rows.shape == (3, 6, 64)
    torch.testing.assert_close(rows[:, 0], clip.encode_text(["a red circle", "", "one two three four five six"]))
    present = (rows != 0).any(dim=-1).sum(dim=1).tolist()
    assert present == [4, 2, 6], "an empty caption keeps one place, attention needs something to look at"
    other = clip.encode_words(["a red cross"])[0]
    assert not torch.allclose(rows[0, 3], other[3])


def test_equal_captions_are_no_mistake() -> None:
    """Two images of one caption cannot be told apart by text: the best loss is the entropy, not above it."""
    clip = SmallCLIP()
    images = torch.eye(2)[[0, 0, 1]]
    clip.encode_image = lambda pixels: images  # type: ignore[method-assign,assignment]
    clip.encode_text = lambda captions: images  # type: ignore[method-assign,assignment]
    clip.logit_scale.data.fill_(4.5)
    loss = clip.loss(torch.zeros(3, 3, 16, 16), ["same", "same", "other"])
    torch.testing.assert_close(loss, torch.tensor(2 / 3).mul(torch.log(torch.tensor(2.0))), atol=1e-4, rtol=1e-4)


def test_ridge_recovers_a_linear_map_up_to_length() -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(200, 6, generator=generator)
    truth = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    image = text @ truth + 0.5
    prior = RidgePrior(6)
    explained = prior.fit(text, image, penalty=1e-9)
    assert explained == pytest.approx(1.0)
    torch.testing.assert_close(prior(text), torch.nn.functional.normalize(image, dim=1), atol=1e-4, rtol=1e-4)


def test_without_a_prior_the_text_embedding_itself_is_the_condition() -> None:
    text = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(RidgePrior(4).set_identity()(text), torch.nn.functional.normalize(text, dim=1))


def test_a_large_penalty_leaves_the_mean() -> None:
    text, image = torch.randn(50, 4), torch.randn(50, 4) + 3.0
    prior = RidgePrior(4)
    assert prior.fit(text, image, penalty=1e9) == pytest.approx(0.0, abs=1e-6)
    expected = torch.nn.functional.normalize(image.mean(0), dim=0).expand(50, -1)
    torch.testing.assert_close(prior(text), expected, atol=1e-4, rtol=1e-4)
