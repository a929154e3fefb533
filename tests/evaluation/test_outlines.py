from pathlib import Path

import numpy as np
import pytest

from evaluation import Clip, evaluate, load_protocol
from evaluation.extractors.object_outlines import outline_overlap
from mav_lightning.common.shapes_world.scene import GROUNDS, SHAPES, Scene, render

CENTERS = np.random.default_rng(0).uniform(0.25, 0.75, (12, 2))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("size, least", [(16, 0.85), (64, 0.91)])
def test_every_shape_overlaps_itself_most_wherever_it_is(size: int, least: float, ground: str) -> None:
    for column, shape in enumerate(SHAPES):
        overlap = outline_overlap(render(Scene("cyan", shape, ground), CENTERS, size))
        assert overlap.shape == (12, 4)
        assert (overlap[:, column] > least).all()
        assert (overlap.argmax(axis=1) == column).all()


def test_a_circle_has_the_overlap_with_a_square_that_geometry_gives() -> None:
    """The square, of half side 0.82 radii, cuts four segments off the circle."""
    overlap = outline_overlap(render(Scene("red", "circle", "dark"), np.array([[0.5, 0.5]]), 512))
    half = 0.82
    segments = 4 * (np.arccos(half) - half * np.sqrt(1 - half**2))
    both = np.pi - segments
    exact = both / (np.pi + (2 * half) ** 2 - both)
    assert overlap[0, SHAPES.index("square")] == pytest.approx(exact, abs=0.003)


def test_position_does_not_count_but_size_does() -> None:
    video = render(Scene("red", "circle", "dark"), np.array([[0.3, 0.4]]), 64)
    rolled = np.roll(video, (9, 13), axis=(1, 2))
    assert outline_overlap(rolled) == pytest.approx(outline_overlap(video), abs=0.005)
    half = render(Scene("red", "circle", "dark"), np.array([[0.5, 0.5]]), 32)
    padded = np.pad(half, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="edge")
    assert outline_overlap(padded)[0, SHAPES.index("circle")] == pytest.approx(0.25, abs=0.02)


def test_frames_without_one_object_have_no_overlap() -> None:
    empty = np.full((1, 64, 64, 3), 35, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert not outline_overlap(np.concatenate([empty, noise])).any()


def test_the_metric_counts_overlap_and_right_frames_of_the_captioned_shape(tmp_path: Path) -> None:
    file = tmp_path / "outlines.yaml"
    file.write_text(
        """
frames: 12
fps: [8]
stride: null
resize: []
generated: {clips: null, start: first}
real: null
seed: 0
batch: 2
extractors: {outlines: {kind: shapes-outlines}}
metrics: {shapes-outline: {kind: outlines, of: outlines}}
"""
    )
    circles, squares = (render(Scene("red", shape, "dark"), CENTERS, 64) for shape in ("circle", "square"))
    mixed = np.concatenate([circles[:9], squares[9:]])
    red_circle = {"colour": "red", "shape": "circle"}
    clips = [
        Clip("right", circles, 8.0, attributes=red_circle),
        Clip("square at the end", mixed, 8.0, attributes=red_circle),
        Clip("unknown", squares, 8.0),
    ]

    result = evaluate(clips, None, file)

    assert load_protocol(file).numbers().keys() == result["metrics"].keys()
    assert result["metrics"]["shapes-outline-right"]["n"] == 2, "a clip without attributes is not counted"
    assert result["clips"]["right"]["shapes-outline-right"] == 1.0
    assert result["clips"]["square at the end"]["shapes-outline-right"] == 0.75
    assert result["metrics"]["shapes-outline-right"]["value"] == 0.875
    assert result["clips"]["square at the end"]["shapes-outline"] == pytest.approx(0.75 + 0.25 * 0.795, abs=0.005)
