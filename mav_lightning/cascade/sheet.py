"""Contact sheet of a folder of clips."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.common.manifest import read_manifest

__all__ = ["write_sheet"]


def write_sheet(
    folder: Path, out: Path, most: int = 24, frame_height: int = 64, caption_height: int = 14, most_frames: int = 40
) -> None:
    """Draw the first clips of a folder as one PNG, one clip per row below its prompt, frames from left to right.

    Args:
        folder: Folder of clips with its manifest.
        out: The PNG.
        most: Number of clips drawn.
        frame_height: Smaller frames are upsampled by a whole factor to at least this height in pixels; frames of more
            than twice this height are downsampled.
        caption_height: Height of the prompt's line in pixels.
        most_frames: Frames drawn per clip. Of longer clips every second frame is drawn, or every third, and so on.
    """
    rows = []
    for record in read_manifest(folder)[:most]:
        frames = read_clip(folder / record.file)
        frames, thinned = frames[:: -(-len(frames) // most_frames)], max(1, frames.shape[1] // (2 * frame_height))
        frames = frames[:, ::thinned, ::thinned]
        scale = max(1, -(-frame_height // frames.shape[1]))
        strip = np.concatenate(list(frames), axis=1).repeat(scale, axis=0).repeat(scale, axis=1)
        row = Image.new("RGB", (strip.shape[1], strip.shape[0] + caption_height), "white")
        row.paste(Image.fromarray(strip), (0, caption_height))
        text = f"{record.prompt or record.source or record.id}   ({record.fps:g} fps, seed {record.seed})"
        ImageDraw.Draw(row).text((2, 1), text, fill="black")
        rows.append(row)
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(out)
