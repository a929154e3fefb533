"""Features → named numbers: one file for each kind of metric that a protocol can name."""
