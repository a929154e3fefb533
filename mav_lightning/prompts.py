"""What to ask a system for: prompts with what is known of their content."""

from dataclasses import dataclass, field

import numpy as np

from mav_lightning.common.shapes_world.scene import GROUNDS, Scene, all_scenes, caption, render

__all__ = ["Prompt", "shapes_prompts", "shapes_stills"]


@dataclass(frozen=True)
class Prompt:
    """A text, and what is known of what it asks for.

    Attributes:
        text: The prompt.
        attributes: For Shapes World: colour, shape, ground. Empty for other prompts.
    """

    text: str
    attributes: dict[str, str] = field(default_factory=dict)


def shapes_prompts(per_pair: int = 1) -> list[Prompt]:
    """Asks for every pair of colour and shape `per_pair` times, over the grounds and phrasings in turn.

    The pairs that training clips never show are among them.
    """
    pairs = list(dict.fromkeys((scene.colour, scene.shape) for scene in all_scenes()))
    scenes = [
        Scene(colour, shape, GROUNDS[(number + turn) % len(GROUNDS)])
        for turn in range(per_pair)
        for number, (colour, shape) in enumerate(pairs)
    ]
    return [Prompt(caption(scene, number), scene.attributes()) for number, scene in enumerate(scenes)]


def shapes_stills(size: int, per_pair: int = 1) -> tuple[np.ndarray, list[str]]:
    """Renders the scenes of `shapes_prompts` as centred stills: (N, size, size, 3) uint8, and their N shapes."""
    scenes = [Scene(**prompt.attributes) for prompt in shapes_prompts(per_pair)]
    stills = [render(scene, np.full((1, 2), 0.5), size)[0] for scene in scenes]
    return np.stack(stills), [scene.shape for scene in scenes]
