"""Measures that need no network, since Shapes World's truth is known: numpy only, thousands of clips in seconds."""
