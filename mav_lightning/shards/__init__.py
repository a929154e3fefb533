"""The one reader of tar shards, used by training, indexing, linting, packing, embedding and evaluation."""
