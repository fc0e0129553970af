#!/usr/bin/env python3
"""How far what Plait finds in photographs lies from what the packages of the networks found, and how long it takes on one
core; the table in docs/sight.md:  OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sight/measure.py --fix"""
import pathlib
import re
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import numpy as np
import sight_pictures
from safetensors.numpy import load_file

import plait

REPEATS = 5


def milliseconds(call):
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def objects():
    expected = load_file(ROOT / "tests/golden/sight/objects.safetensors")
    detector = plait.ObjectDetector.from_pretrained()
    found, score, box, times = 0, 0.0, 0.0, []
    for name in sight_pictures.OBJECTS:
        picture = sight_pictures.load(name)
        rows = expected[f"{name}/rows"][expected[f"{name}/kept"]]
        scale = np.array([picture.shape[1], picture.shape[0]] * 2)
        things = detector(picture)
        assert [thing.label for thing in things] == [detector.classes[int(row[5])] for row in rows], name
        found += len(things)
        for thing, row in zip(things, rows):
            score = max(score, abs(thing.score - float(row[4])))
            box = max(box, np.abs(np.array(thing.box) - np.clip(row[:4] * scale / 512, 0, scale)).max())
        times.append(milliseconds(lambda: detector(picture)))
    return ("`centernet`", "human 3.3.6, TensorFlow.js", f"{found} things in {len(sight_pictures.OBJECTS)} photographs, the same labels",
            f"score {score:.0e}, box {box:.0e} px", f"{statistics.median(times):.0f} ms a picture")


def faces():
    expected = load_file(ROOT / "tests/golden/sight/faces.safetensors")
    detector = plait.FaceDetector.from_pretrained()
    found, score, box, marks, cosine, times, per_face = 0, 0.0, 0.0, 0.0, 1.0, [], []
    for name in sight_pictures.FACES:
        picture = sight_pictures.load(name)
        got = detector(picture)
        assert len(got) == len(expected[f"{name}/score"]), name
        found += len(got)
        for i, face in enumerate(got):
            score = max(score, abs(face.score - float(expected[f"{name}/score"][i])))
            bounds = [picture.shape[1], picture.shape[0]] * 2
            box = max(box, np.abs(np.array(face.box) - np.clip(expected[f"{name}/box"][i], 0, bounds)).max())
            marks = max(marks, np.abs(np.array(face.landmarks) - expected[f"{name}/landmarks"][i]).max())
            descriptor = expected[f"{name}/descriptor"][i]
            cosine = min(cosine, float(face.embedding.numpy() @ descriptor / np.linalg.norm(descriptor)))
        alone = milliseconds(lambda: detector(picture, landmarks=False, embeddings=False))
        times.append(alone)
        per_face.append((milliseconds(lambda: detector(picture)) - alone) / len(got))
    return ("`face-ssd`, `face-recognition`", "face-api 1.7.15, TensorFlow.js",
            f"{found} faces in {len(sight_pictures.FACES)} photographs, the same ones",
            f"score {score:.0e}, box {box:.0e} px, landmark {marks:.0e} px, 1 − cosine of embeddings {1 - cosine:.0e}",
            f"{statistics.median(times):.0f} ms a picture and {statistics.median(per_face):.0f} ms a face")


def labels():
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from test_sight import WEIGHTS, reference_top
    from PIL import Image

    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(WEIGHTS)).eval()
    classifier = plait.ImageClassifier.from_pretrained()
    names = list(dict.fromkeys(sight_pictures.OBJECTS + sight_pictures.FACES))
    same, worst, times = 0, 0.0, []
    for name in names:
        picture = sight_pictures.load(name)
        probabilities, classes = reference_top(Image.fromarray(picture), model)
        got = classifier(picture)
        same += [label.index for label in got] == classes.tolist()
        worst = max(worst, float((torch.tensor([label.probability for label in got]) - probabilities).abs().max()))
        times.append(milliseconds(lambda: classifier(picture)))
    return ("`imagenet-classifier`", "efficientnet-lite-pytorch 0.1.0", f"the same five labels in the same order on {same} of {len(names)} "
            "photographs", f"probability {worst:.0e}", f"{statistics.median(times):.0f} ms a picture")


lines = ["| model | reference | agreement | largest difference | one core |", "|---|---|---|---|---|"]
lines += ["| " + " | ".join(row) + " |" for row in (objects(), faces(), labels())]
table = "\n".join(lines)
print(table)
if "--fix" in sys.argv[1:]:
    page = ROOT / "docs" / "sight.md"
    text = page.read_text()
    page.write_text(re.sub(r"(<!-- measured -->\n).*?(\n<!-- end -->)", lambda m: m[1] + table + m[2], text, flags=re.S))
