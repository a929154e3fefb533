"""Version of the measuring code."""

__all__ = ["MEASURES"]

# Raise it whenever a change of code moves a number of an evaluation: hashes of protocols change, studies score again.
MEASURES = 2
