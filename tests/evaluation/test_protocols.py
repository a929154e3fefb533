from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.extractors.shipped_weights import load_extractor, read_card
from evaluation.protocol import FOLDER, known_protocols, load_protocol
from evaluation.weight_files import find_weights
from mav_lightning.common.errors import UserError


@pytest.mark.parametrize("name", known_protocols())
def test_every_shipped_protocol_loads_and_pins_its_extractors(name: str) -> None:
    protocol = load_protocol(name)

    assert protocol.name == name
    assert protocol.metrics
    for kind in protocol.extractors.values():
        if kind.metric_prefix:
            kind.load(Path("nowhere"))  # shipped, hence found


def test_the_hash_covers_every_choice_but_not_the_name() -> None:
    protocol = load_protocol("shapes-tiny")

    assert replace(protocol, name="other").hash == protocol.hash
    assert replace(protocol, seed=protocol.seed + 1).hash != protocol.hash
    assert protocol.real
    assert replace(protocol, real=replace(protocol.real, start="center")).hash != protocol.hash
    for part, name, change in (("metrics", "shapes-fvd", {"divisor": "n"}), ("extractors", "video", {"sha256": "0"})):
        parts = dict(getattr(protocol, part))
        parts[name] = replace(parts[name], **change)
        assert replace(protocol, **{part: parts}).hash != protocol.hash  # type: ignore[arg-type]
    assert protocol.to_dict()["hash"] == protocol.hash


def edited(folder: Path, old: str, new: str) -> str:
    text = (FOLDER / "shapes-tiny.yaml").read_text()
    assert old in text
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_ones_own_file_is_a_protocol(tmp_path: Path) -> None:
    assert load_protocol(edited(tmp_path, "seed: 0", "seed: 5")).seed == 5


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"no protocol `shapes-tny`; known are .*shapes-tiny.*Did you mean `shapes-tiny`\?"
    ):
        load_protocol("shapes-tny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("frames:", "framez:", r"framez: .* has no argument `framez`.*Did you mean `frames`\?"),
        ("seed: 0", "", r"seed: is missing"),
        ("frames: 9", "frames: nine", r"frames: must be a whole number above 0, got 'nine'"),
        ("fps: [4, 8, 16]", "fps: [0]", r"fps\.0: must be a finite number above 0, got 0"),
        ("fps: [4, 8, 16]", "fps: null", r"exactly one of `fps` and `stride` must be given, the other null"),
        ("stride: null", "stride: true", r"stride: must be a whole number.* or null, got True"),
        ("start: random", "start: middle", r"real\.start: must be one of `first`, `center`, `random`, got 'middle'"),
        ("clips: 288", "clips: null", r"`real\.repeat` needs a number of `real\.clips`, got null"),
        (
            "kind: shapes-video",
            "kind: shapes-vido",
            r"extractors\.video\.kind: unknown kind `shapes-vido`.*Did you mean `shapes-video`",
        ),
        (
            "kind: kernel",
            "kind: kernal",
            r"metrics\.shapes-kvd\.kind: unknown kind `kernal`; known are .*frechet.*Did you mean `kernel`",
        ),
        (
            "kernel, of: video",
            "kernel, of: vide",
            r"`metrics\.shapes-kvd\.of` names no extractor: `vide`. Did you mean",
        ),
        ("kernel, of: video", "kernel, of: image", r"of kind shapes-image does not fit; it must be a ClipFeatures"),
        ("  shapes-clipsim: {kind: clipsim, of: text}\n", "", r"`extractors\.text` is used by no metric; remove it"),
        ("shapes-fvd:", "fvd:", r"`metrics\.fvd` is measured with shapes-video.*call it shapes-fvd"),
        (
            "real: {clips: 288, start: random, split: val, choice: shuffled, repeat: true, fewer: false}",
            "real: null",
            r"`metrics.shapes-fvd` needs real",
        ),
        ("kind: frechet, of: video", "of: video", r"metrics\.shapes-fvd: must be a mapping with a `kind`"),
        ("divisor: n-1", "divisor: n-2", r"metrics\.shapes-fvd\.divisor: must be one of `n-1`, `n`, got 'n-2'"),
        ("image: {", "image: {weight: 1, ", r"extractors\.image\.weight: .* has no argument `weight`"),
        ("seed: 0", "seed: ${oc.env:HOME}", r"only references to keys are allowed"),
        ("batch: 16", "batch: ${nothing}", r"there is no such key"),
        ("size: 16", "size: 0", r"resize\.0\.size: must be a whole number above 0"),
        (
            "rule: box",
            "rule: bix",
            r"resize\.0\.rule: unknown resizing rule `bix`; known are box, tats, .*Did you mean `box`",
        ),
        ("choice: shuffled", "choice: windows", r"`real\.choice: windows` needs a `stride`"),
        ("choice: shuffled", "choice: all", r"real\.choice: must be one of `shuffled`, `first`, `windows`, got 'all'"),
        ("fps: [4, 8, 16]", "fps: [.nan]", r"fps\.0: must be a finite number above 0, got nan"),
        ("fps: [4, 8, 16]", "fps: []", r"`fps` must list at least one"),
        ("kind: kernel", "kind: os.path.join", r"`os` is not allowed"),
        ("frames: 9", "frames: [", r"not a readable YAML"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_protocol(edited(tmp_path, old, new))


def test_other_weights_than_those_pinned_are_refused() -> None:
    with pytest.raises(UserError, match=r"`shapes-image`: the weights have sha256 \w+, not 1234; restore"):
        load_extractor("shapes-image", "1234")


def test_an_unknown_extractor_is_told_apart() -> None:
    with pytest.raises(UserError, match=r"unknown kind `shapes-imag`; known.*Did you mean `shapes-image`\?"):
        load_extractor("shapes-imag")


def test_cards_tell_what_the_weights_are() -> None:
    assert len(read_card("shapes-video").sha256) == 64


@pytest.mark.parametrize("name", known_protocols())
def test_weights_that_protocols_name_are_in_the_catalogue_with_the_same_hash(name: str) -> None:
    for kind in load_protocol(name).extractors.values():
        if file := getattr(kind, "weights", None):
            known = find_weights(file)
            pins = {each.sha256 for each in known.files} | {each.git_blob for each in known.files}
            assert (getattr(kind, "sha256", None) or getattr(kind, "git_blob", None)) in pins


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    for name, lost in (("fvd-tats-2048x16", "i3d_pretrained_400.pt"), ("clipfid-b32-msrvtt", "clip-vit-base-patch32")):
        (kind,) = load_protocol(name).extractors.values()
        with pytest.raises(UserError, match=rf"{lost}: no such f.*`mav weights list` "):
            kind.load(tmp_path)
