"""Names under which trainings log, and where TensorBoard's events are.

TensorBoard sorts cards by name, so the names are chosen to be read in order: losses, optimizer, previews, scores,
temporal layers, training data.
"""

from pathlib import Path

__all__ = [
    "GRADIENT_NORM",
    "LEARNING_RATE",
    "PREVIEW",
    "SAMPLES",
    "SCORE",
    "TEMPORAL",
    "TRAINED_FPS",
    "board_folder",
    "board_run",
    "loss_name",
]

LEARNING_RATE = "optimizer/lr"
GRADIENT_NORM = "optimizer/grad_norm"
PREVIEW = "preview"  # clips of a decoder in training, by frame rate
SAMPLES = "samples"  # clips of a study's trials, by frame rate
SCORE = "score"  # measured in validation, by name
TEMPORAL = "temporal"  # distance of each temporal layer from the identity
TRAINED_FPS = "training_data/fps"


def loss_name(split: str) -> str:
    """Return the name of a loss.

    Args:
        split: ``train``, ``val`` or ``test``.
    """
    return f"loss/{split}"


def board_folder(out: Path, name: str) -> Path:
    """Return the folder for TensorBoard's events of a training.

    Args:
        out: The training's folder.
        name: Name of the run, which TensorBoard shows.
    """
    return out / "tensorboard" / name


def board_run(out: Path) -> Path | None:
    """Return the folder that holds TensorBoard's events of a training; None if it has logged none.

    Args:
        out: The training's folder.
    """
    return next((run for run in sorted((out / "tensorboard").glob("*")) if run.is_dir()), None)
