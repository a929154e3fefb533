"""Shapes World: a tiny world whose appearance is captioned and whose motion is not.

One colored object moves on a gray ground. Captions describe color, shape and ground; the motion law follows from the
shape and is never captioned, so a system can only learn it from video without text: Make-A-Video's own claim, testable
because the ground truth is known.
"""
