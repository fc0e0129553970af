"""What the packages @vladmandic/human 3.3.6 and @vladmandic/face-api 1.7.15 find in photographs, and a small TensorFlow.js
graph of every operator, by the TensorFlow.js that face-api brings along: tests/golden/sight. Needs node."""
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
from common import FOLDER
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "python"))
import packages
import sight_pictures

OUT = FOLDER / "sight"


def node(*arguments):
    subprocess.run(["node", *map(str, arguments)], check=True)


def save_ops(folder, bundle):
    node(HERE / "tfjs_ops.mjs", bundle, folder / "ops")
    (OUT / "ops").mkdir(parents=True, exist_ok=True)
    for name in ("model.json", "weights.bin"):
        shutil.copy(folder / "ops" / name, OUT / "ops")
    values = json.loads((folder / "ops" / "values.json").read_text())
    arrays = {name: np.array(value["values"], np.int32 if name == "whole" else np.float32).reshape(value["shape"])
              for name, value in values.items()}
    save_file(arrays, OUT / "ops" / "values.safetensors", {"reference": "TensorFlow.js 4.22.0"})


def save_found(results):
    objects, faces = {}, {}
    for name, found in results.items():
        if "objects" in found:
            objects[f"{name}/rows"] = np.array(found["objects"]["rows"], np.float32)
            objects[f"{name}/kept"] = np.array(found["objects"]["kept"], np.int64)
            if name == sight_pictures.DENSE:
                objects["heat"] = np.array(found["objects"]["heat"], np.float32).reshape(16, 16, 80)
                objects["sides"] = np.array(found["objects"]["sides"], np.float32).reshape(16, 16, 4)
        if "faces" in found:
            for key in ("score", "box", "landmarks", "descriptor"):
                faces[f"{name}/{key}"] = np.array([face[key] for face in found["faces"]], np.float32)
    reference = {"reference": "@vladmandic/human 3.3.6, @vladmandic/face-api 1.7.15"}
    save_file(objects, OUT / "objects.safetensors", reference)
    save_file(faces, OUT / "faces.safetensors", reference)


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for name, requirement in (("human", sight_pictures.HUMAN), ("face", sight_pictures.FACE_API)):
        with tarfile.open(packages.npm(requirement)) as archive:
            archive.extractall(folder / name, filter="data")
    # Node takes .mjs for a module.
    bundle = shutil.copy(folder / "face" / "package" / "dist" / "face-api.esm.js", folder / "face-api.mjs")
    tfjs = shutil.copy(folder / "face" / "package" / "dist" / "tfjs.esm.js", folder / "tfjs.mjs")
    save_ops(folder, tfjs)
    rows = []
    for name in dict.fromkeys(sight_pictures.OBJECTS + sight_pictures.FACES):
        picture = sight_pictures.load(name)
        (folder / f"{name}.rgb").write_bytes(picture.tobytes())
        rows.append({"name": name, "file": str(folder / f"{name}.rgb"), "height": picture.shape[0], "width": picture.shape[1],
                     "objects": name in sight_pictures.OBJECTS, "faces": name in sight_pictures.FACES})
    (folder / "pictures.json").write_text(json.dumps(rows))
    node(HERE / "sight.mjs", bundle, folder / "human" / "package", folder / "face" / "package", folder / "pictures.json",
         folder / "out.json")
    save_found(json.loads((folder / "out.json").read_text()))
