"""Frame skips that fit a number of frames."""

__all__ = ["check_skip"]


def check_skip(skip: int, frames: int) -> None:
    """Check that every `skip`-th of T frames includes the last one.

    Args:
        skip: Distance between known frames.
        frames: Number of frames T.

    Raises:
        ValueError: If the last frame would be unknown; the message lists the skips that fit.
    """
    if skip < 1 or (frames - 1) % skip:
        legal = [n for n in range(1, frames) if (frames - 1) % n == 0]
        raise ValueError(
            f"a frame skip of {skip} does not fit {frames} frames, since the last frame must be known; "
            f"use one of {', '.join(map(str, legal))}."
        )
