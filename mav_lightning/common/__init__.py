"""Shared primitives: errors, schema, files, video, clip manifests and the laws of Shapes World.

Every package may import this one; it imports no other package of this project.
"""
