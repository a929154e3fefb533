"""A package of somebody else's: one of everything that can be added from outside, each in one file."""
