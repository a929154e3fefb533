"""Center crop and resize of images and video frames."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["crop_to_square"]


def crop_to_square(image: Image.Image | NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crop the largest centered square and resize it.

    Args:
        image: RGB image, or a frame as uint8 array, shape (H, W, 3).
        size: Side of the result in pixels. Downsampling averages areas (box filter); upsampling is bicubic.

    Returns:
        Pixels, shape (size, size, 3), uint8.
    """
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (size, size):
            return image
        image = Image.fromarray(image)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resampling = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), resampling, box=(left, top, left + side, top + side)))
