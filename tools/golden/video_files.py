"""Tiny videos for the fuzz target and the C++ tests: fuzz/corpus/video/. Needs `pip install av`."""
import pathlib

import av
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "fuzz" / "corpus" / "video"


def pictures(count):
    """A square that moves to the right, 4 pixels a frame."""
    for t in range(count):
        frame = np.full((32, 48, 3), 40, np.uint8)
        frame[12:20, 4 * t:4 * t + 8] = (220, 180, 30)
        yield frame


def write(name, encoder, pixel_format, **options):
    FOLDER.mkdir(parents=True, exist_ok=True)
    with av.open(str(FOLDER / name), "w") as container:
        stream = container.add_stream(encoder, rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixel_format
        stream.options = options
        for picture in pictures(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)))
        container.mux(stream.encode(None))
    print(name, (FOLDER / name).stat().st_size, "bytes")


write("h264.mp4", "libx264", "yuv420p", crf="20", bf="1", g="4")
write("vp9.webm", "libvpx-vp9", "yuv420p", crf="30")
write("mpeg4.avi", "mpeg4", "yuv420p")
write("mjpeg.mov", "mjpeg", "yuvj420p")
write("drawn.gif", "gif", "rgb8")
