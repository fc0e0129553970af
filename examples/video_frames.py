"""Frames of a video with their times, and what the streaming encoder makes of them: video_frames.py FILE

Without a file: a GIF of a square that moves to the right, drawn here."""
import io
import sys

import torch
from PIL import Image, ImageDraw

import plait


def drawn() -> bytes:
    pictures = []
    for t in range(8):
        pictures.append(Image.new("RGB", (96, 64), (40, 40, 60)))
        ImageDraw.Draw(pictures[-1]).rectangle((8 * t, 24, 8 * t + 15, 39), fill=(250, 210, 60))
    out = io.BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=100)
    return out.getvalue()


# [snippet: frames]
source = sys.argv[1] if len(sys.argv) > 1 else drawn()
reader = plait.VideoReader(source, frames_per_second=5)
info = reader.info
print(f"{info['codec']}, {info['width']} x {info['height']}, {info['seconds']:.1f} s")
for pixels, seconds in reader:
    print(f"{seconds:6.2f} s  {tuple(pixels.shape)}, mean {pixels.float().mean():.1f}")
# [end]

# [snippet: stream]
stream = plait.VideoStream()
for pixels, _ in plait.VideoReader(source):
    frame = pixels.permute(2, 0, 1).float().div(127.5).sub(1)
    token, pooled = stream.push(torch.nn.functional.interpolate(frame[None], (112, 112)))
print(f"{len(stream)} frames, token {tuple(token.shape)}, pooled {tuple(pooled.shape)}")
# [end]
