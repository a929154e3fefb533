"""The trained networks in a row: settings, pipeline, and the files it writes."""
