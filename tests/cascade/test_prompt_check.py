"""Words that a text encoder does not know, and words that it does not read."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mav_lightning.cascade.clip_check import ClipWarning
from mav_lightning.cascade.pipeline_file import READY_MADE
from mav_lightning.cascade.prompt_check import describe_caption
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.shapes_world.scene import all_scenes, caption
from mav_lightning.networks.card import Trained, read_card, write_card
from mav_lightning.nn.small_clip import SmallCLIP, split_words

CLIP = SmallCLIP(size=8, channels=8, width=8, length=5)
KNOWN = frozenset(("a", "red", "circle", "on", "dark"))


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("A RED circle!!!", []),
        ("a dog riding a bicycle", ["dog", "riding", "bicycle"]),
        ("a red dog, dog, dog", ["dog"]),
        ("ein grüner Kreis", ["ein", "grüner", "kreis"]),
        ("红色 circle", ["红色"]),
        ("a red circle on mars and more", ["mars"]),
        ("a red circle on mars and more  \n", ["mars"]),
        ("", []),
    ],
)
def test_unknown_words_are_those_outside_of_the_training_captions(text: str, unknown: list[str]) -> None:
    assert CLIP.unknown_words(text, KNOWN) == unknown


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("one two three four five", ""),
        ("one, two, three, four, five!", ""),
        ("one two three four five SIX, seven", "SIX, seven"),
        ("", ""),
    ],
)
def test_words_beyond_the_limit_are_not_read(text: str, rest: str) -> None:
    assert CLIP.unread(text) == rest


def test_what_is_wrong_with_a_caption_is_described() -> None:
    assert describe_caption("a red circle", CLIP, KNOWN) == []
    assert describe_caption("a dog", CLIP, None) == [], "nothing is known of the training captions"
    assert describe_caption("a red dog on dark ground", CLIP, KNOWN) == [
        "`a red dog on dark ground`: dog is unknown to the text encoder: no such word in its training captions",
        "`a red dog on dark ground`: `ground` is not read, since the text encoder reads 5 tokens at most",
    ]
    (message,) = describe_caption("a dog riding", CLIP, KNOWN)
    assert message.endswith("dog, riding are unknown to the text encoder: no such words in its training captions")


def test_the_shipped_encoder_knows_the_captions_of_shapes_world_and_nothing_else() -> None:
    captions = [caption(scene, phrasing) for scene in all_scenes() for phrasing in range(5)]
    words = read_card(READY_MADE / "clip").trained.words
    assert words == tuple(sorted({word for text in captions for word in split_words(text, 16)}))


def test_python_warns_of_words_that_the_pipeline_does_not_know() -> None:
    pipeline = Pipeline.from_pretrained(batch_size=1, steps=2)
    with pytest.warns(ClipWarning, match="`a dog riding a bicycle`: dog, riding, bicycle are unknown"):
        pipeline("a dog riding a bicycle", until="decoder")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClipWarning)
        pipeline("a red circle on a dark background", until="decoder")


def test_the_command_names_unknown_words_before_it_samples(text_pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(text_pipeline, tmp_path / "pipeline")
    card = read_card(tmp_path / "pipeline" / "clip")
    write_card(tmp_path / "pipeline" / "clip", replace(card, trained=Trained(words=("a", "circle", "red"))))
    words = ["a dog", "a red circle", "--pipeline", str(tmp_path / "pipeline"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["generate", *words])
    assert done.exit_code == 0, done.output
    assert "1 warning about prompts:\n  `a dog`: dog is unknown to the text encoder" in done.output
    assert "a red circle`" not in done.output
