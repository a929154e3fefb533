"""Stages on disk: content ids, folders, leases, and the executor that runs what is missing.

A stage is one training, sampling or scoring step. Its folder holds its whole state, so that any process may be killed
at any time and the same command finishes the work.
"""
