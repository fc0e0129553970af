"""Frames a second of the streaming video encoder and of reading a 640 x 360 H.264 file (a moving pattern with noise, 90
frames, made here by PyAV): python benchmarks/video/measure.py. Builds nothing: configure with -DPLAIT_WITH_BENCHMARKS=ON."""
import os
import pathlib
import subprocess
import tempfile

import av
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", HERE.parents[1] / "build")) / "bin" / "video_stream"


def write(path, width=640, height=360, frames=90):
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "23", "preset": "medium"}
        for t in range(frames):
            waves = np.stack([np.sin((x + 4 * t) / 23), np.sin((y - 3 * t) / 31), np.sin((x + y + 5 * t) / 41)], -1)
            noise = random.normal(0, 4, (height, width, 3))
            frame = av.VideoFrame.from_ndarray(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


with tempfile.TemporaryDirectory() as folder:
    clip = pathlib.Path(folder) / "clip.mp4"
    write(clip)
    raise SystemExit(subprocess.run([str(PROGRAM), str(HERE / "stream.json"), str(clip)]).returncode)
