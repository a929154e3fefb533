"""People's preference between two systems: a page on which raters compare clips, and what their answers amount to."""
