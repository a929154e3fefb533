"""Stages on disk: content ids, folders, leases, and the executor that runs what is missing.

A stage is one training, sampling or scoring step. Its folder is the only truth about it, so that anything may be
killed at any time and the same command finishes the work.
"""
