"""Measures of motion for anybody's clips, by optical flow: no network, no download, the same numbers on every run."""
