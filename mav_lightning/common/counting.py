"""Counts in messages and tables."""

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Args:
        number: The number.
        noun: The noun in the singular.
        plural: Plural of the noun. None appends an ``s``.

    Example:
        >>> counted(1, "clip"), counted(0, "clip"), counted(2, "entry", "entries")
        ('1 clip', '0 clips', '2 entries')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
