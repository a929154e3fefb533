"""Version of the measuring code."""

__all__ = ["MEASURES"]

# Raised whenever a change of code moves a number of an evaluation: protocols are others then, and studies score anew.
MEASURES = 2
