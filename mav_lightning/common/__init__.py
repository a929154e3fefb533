"""The ground floor: errors, video files, clip manifests and the laws of Shapes World.

Everything may import this package; it imports nothing of ours.
"""
