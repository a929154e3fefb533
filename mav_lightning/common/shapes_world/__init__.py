"""Shapes World: a tiny world whose appearance is captioned and whose motion is not.

One coloured object moves on a grey ground. Captions tell colour, shape and ground; the motion law follows from the
shape and is never told, so a system can only learn it from video without text: Make-A-Video's own claim, testable
because the truth is known.
"""
