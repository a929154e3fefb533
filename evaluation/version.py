"""Version of the measuring code."""

__all__ = ["MEASURES"]

# Raise it whenever a change of code changes a score: hashes of protocols change, studies score again.
MEASURES = 2
