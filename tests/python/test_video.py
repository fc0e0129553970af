"""Video against PyAV: pixels and time stamps of generated files of every container and codec, rotation, damage, seeking."""
import fractions
import json
import os
import pathlib
import struct
import subprocess

import av
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", ROOT / "build")) / "bin" / "preprocess_tool"

# file, encoder, pixel format, size, frames a second, frames
FILES = [
    ("h264.mp4", "libx264", "yuv420p", (96, 64), 25, 40),
    ("h264_odd.mp4", "libx264", "yuv444p", (77, 51), 30, 12),
    ("ntsc.mov", "libx264", "yuv420p", (64, 48), fractions.Fraction(30000, 1001), 20),
    ("hevc.mp4", "libx265", "yuv420p", (96, 64), 25, 10),
    ("mpeg4.avi", "mpeg4", "yuv420p", (96, 64), 15, 24),
    ("mpeg2.mkv", "mpeg2video", "yuv420p", (96, 64), 25, 24),
    ("vp8.webm", "libvpx", "yuv420p", (96, 64), 24, 24),
    ("vp9.webm", "libvpx-vp9", "yuv420p", (96, 64), 24, 24),
    ("av1.mp4", "libsvtav1", "yuv420p", (96, 64), 24, 8),
    ("mjpeg.avi", "mjpeg", "yuvj420p", (96, 64), 10, 9),
    ("ffv1.mkv", "ffv1", "yuv420p", (96, 64), 50, 11),
    ("drawn.gif", "gif", "rgb8", (40, 30), 10, 12),
]


def pictures(size, count):
    """A bright square that moves over a slow gradient."""
    w, h = size
    y, x = np.mgrid[:h, :w]
    for t in range(count):
        frame = np.stack([x * 200 // w + 20, y * 200 // h + 20, (x + y + 3 * t) % 200 + 20], -1).astype(np.uint8)
        left, top = (3 * t) % (w - 16), (2 * t) % (h - 16)
        frame[top:top + 16, left:left + 16] = (250, 200, 10)
        yield frame


def write(path, encoder, pixel_format, size, rate, count, stamps=None, **options):
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(encoder, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if stamps is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        if encoder == "libx264":
            stream.options = {"bf": "2", "g": "12"}
        for i, picture in enumerate(pictures(size, count)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pyav(path):
    with av.open(str(path)) as container:
        frames = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(video=0)]
    return np.stack([f[0] for f in frames]), np.array([f[1] for f in frames], np.float64)


def read(folder, *files, mode="all", value=0):
    folder.mkdir(exist_ok=True)
    done = subprocess.run([str(TOOL), "--video", mode, str(value), str(folder), *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = []
    for i in range(len(files)):
        tensors = folder / f"{i}.safetensors"
        out.append(load_file(tensors) if tensors.exists() else (folder / f"{i}.txt").read_text())
    return out


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {row[0]: write(folder / row[0], *row[1:]) for row in FILES}


@pytest.mark.parametrize("row", FILES, ids=lambda row: row[0])
def test_frames_and_times_are_pyavs(videos, tmp_path, row):
    want, seconds = pyav(videos[row[0]])
    got = read(tmp_path / "out", videos[row[0]])[0]
    assert not isinstance(got, str), got
    assert got["frames"].shape == want.shape and len(want) == row[5]
    assert np.array_equal(got["seconds"], seconds)
    assert np.abs(got["frames"].astype(int) - want).max() <= 1
    height, width, duration, rate, _ = got["info"]
    assert (height, width) == want.shape[1:3]
    assert abs(rate - float(row[4])) < 0.01
    assert abs(duration - row[5] / float(row[4])) < 0.11


def test_uneven_times_are_kept(tmp_path):
    stamps = [0, 40, 50, 300, 310, 1000, 1800]
    path = write(tmp_path / "uneven.mkv", "mpeg4", "yuv420p", (64, 48), 25, len(stamps), stamps)
    want, seconds = pyav(path)
    got = read(tmp_path / "out", path)[0]
    assert np.array_equal(got["seconds"], seconds) and len(seconds) == len(stamps)
    assert np.allclose(seconds, np.array(stamps) / 1000, atol=1e-3)


def rotate(path, matrix, to):
    """The same MP4 with another display matrix in its track header (a, b, c, d)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 4 * 4 + 4 + 8 + 8
    old = struct.unpack(">9i", data[at:at + 36])
    assert old[0] == old[4] == 0x10000
    a, b, c, d = (v * 0x10000 for v in matrix)
    data[at:at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    to.write_bytes(data)
    return to


def test_the_cameras_rotation_is_honoured(videos, tmp_path):
    plain, _ = pyav(videos["h264.mp4"])
    turns = {
        "clockwise": ((0, 1, -1, 0), lambda f: np.rot90(f, -1, (1, 2))),
        "upside_down": ((-1, 0, 0, -1), lambda f: np.rot90(f, 2, (1, 2))),
        "anticlockwise": ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2))),
        "mirrored": ((-1, 0, 0, 1), lambda f: f[:, :, ::-1]),
    }
    files = [rotate(videos["h264.mp4"], matrix, tmp_path / f"{name}.mp4") for name, (matrix, _) in turns.items()]
    with av.open(str(files[0])) as container:
        assert next(container.decode(video=0)).rotation == -90  # the reference names the same turn, anticlockwise
    for got, (name, (_, turned)) in zip(read(tmp_path / "out", *files), turns.items()):
        assert np.abs(got["frames"].astype(int) - turned(plain)).max() <= 1, name
        assert tuple(got["info"][:2]) == turned(plain).shape[1:3]


def test_frames_at_a_rate(videos, tmp_path):
    want, seconds = pyav(videos["h264.mp4"])
    got = read(tmp_path / "out", videos["h264.mp4"], mode="rate", value=10)[0]
    picks = [int(np.argmax(seconds >= k / 10 - 1e-6)) for k in range(16)]
    assert np.array_equal(got["seconds"], seconds[picks])
    assert np.abs(got["frames"].astype(int) - want[picks]).max() <= 1
    # Asking for more than there is gives every frame once.
    assert len(read(tmp_path / "out", videos["h264.mp4"], mode="rate", value=1000)[0]["seconds"]) == len(seconds)


@pytest.mark.parametrize("name", ["h264.mp4", "vp8.webm", "vp9.webm", "mpeg4.avi", "drawn.gif"])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_evenly_spread_frames(videos, tmp_path, name, count):
    want, seconds = pyav(videos[name])
    picks = [(2 * i + 1) * len(seconds) // (2 * count) for i in range(count)]
    got = read(tmp_path / "out", videos[name], mode="sample", value=count)[0]
    assert np.array_equal(got["seconds"], seconds[picks])
    assert np.abs(got["frames"].astype(int) - want[picks]).max() <= 1


@pytest.mark.parametrize("name", [row[0] for row in FILES])
def test_seeking_is_reading_on_from_there(videos, tmp_path, name):
    want, seconds = pyav(videos[name])
    for place in (0, len(seconds) // 2, len(seconds) - 1):
        got = read(tmp_path / "out", videos[name], mode="seek", value=float(seconds[place]) - 1e-4)[0]
        assert not isinstance(got, str), got
        assert np.array_equal(got["seconds"], seconds[place:]), place
        assert np.abs(got["frames"].astype(int) - want[place:]).max() <= 1


@pytest.mark.parametrize("name", ["ffv1.mkv", "h264.mp4"])
def test_videomaes_preprocessing_is_transformers(videos, tmp_path, name):
    reference = transformers.VideoMAEImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 40, "width": 40})
    reference.save_pretrained(tmp_path)
    want, _ = pyav(videos[name])
    picks = [(2 * i + 1) * len(want) // 32 for i in range(16)]
    expected = reference(list(want[picks]), return_tensors="np")["pixel_values"]
    config = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = subprocess.run([str(TOOL), str(tmp_path / "config.json"), str(tmp_path / "tensors"), str(videos[name])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = load_file(tmp_path / "tensors")
    assert got["pixel_values"].shape == expected.shape == (1, 16, 3, 40, 40)
    # A step of one byte after division by the deviation.
    assert np.abs(got["pixel_values"] - expected).max() <= 1.2 / 255 / 0.224
    assert np.abs(got["pixel_values"] - expected).mean() <= 0.003


def test_cut_files_are_errors(videos, tmp_path):
    """A file cut anywhere gives an error, unless all of its pictures are there."""
    whole = {}
    faststart = write(tmp_path / "faststart.mp4", "libx264", "yuv420p", (96, 64), 25, 40, options={"movflags": "faststart"})
    for path in [*videos.values(), faststart]:
        data = path.read_bytes()
        _, seconds = pyav(path)
        files = []
        for share in (0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
            files.append(tmp_path / f"{share}-{path.name}")
            files[-1].write_bytes(data[:int(len(data) * share)])
        for file, got in zip(files, read(tmp_path / "out", *files)):
            assert isinstance(got, str) or len(got["seconds"]) == len(seconds), file.name
            assert not isinstance(got, str) or "expected" in got
            whole[file.name] = not isinstance(got, str)
        for file in (tmp_path / "out").iterdir():
            file.unlink()
    # Only at nine tenths may an index be all that is missing.
    assert all(name.startswith("0.9-") for name, there in whole.items() if there), whole


def test_other_files_are_errors(tmp_path):
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"not a video at all" * 100)
    got = read(tmp_path / "out", sound, tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "missing.mp4")
    assert "no moving pictures" in got[0] and "an empty file" in got[1]
    assert "another format" in got[2] and "missing.mp4" in got[3]
