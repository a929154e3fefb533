"""Trained networks on disk: a closed catalogue of classes, weights that are verified, and nothing else."""
