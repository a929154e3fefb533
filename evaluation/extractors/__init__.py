"""Networks that turn clips into features.

An extractor is any `torch.nn.Module` that takes uint8 pixels, channels last, and does its own resizing and scaling:
``extractor(frames (N, H, W, 3)) -> (N, d)`` for FID, ``extractor(videos (N, T, H, W, 3)) -> (N, d)`` for FVD, and
``images(frames) -> (N, d)`` beside ``texts(list of N) -> (N, d)``, both of unit length, for CLIPSIM.

Those of Shapes World are always named ``shapes-*``, so that nobody mistakes their numbers for I3D's or Inception's.
"""
