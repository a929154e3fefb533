"""Networks of other projects as a start: image networks of diffusers, extended by time."""
