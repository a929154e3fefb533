"""The one border for media: which files of a folder are data, and what a video or image presents.

Training, packing, evaluation, generation and inspection read through this package, so a file has the same frames at the
same times in all of them.
"""
