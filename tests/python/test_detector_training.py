"""A detector trained on pictures of one's own from the command line and from Python, on drawn shapes whose boxes are known."""
import json
import random

import pytest
from PIL import Image, ImageDraw

import plait
from test_cli import run, run_json

SIDE, KINDS = 96, ["square", "disc"]
OPTIONS = {"size": 64, "width": 0.125, "max_steps": 150, "learning_rate": 3e-3, "held_out": 0.15, "seed": 1}


def draw(path, randomly):
    """A picture with one or two shapes: their classes and boxes [left, top, right, bottom]."""
    picture = Image.new("RGB", (SIDE, SIDE * 3 // 4), tuple(randomly.randrange(70, 130) for _ in range(3)))
    pencil, objects = ImageDraw.Draw(picture), []
    for column in range(randomly.choice([1, 2])):
        side, kind = randomly.randrange(24, 38), randomly.randrange(2)
        left, top = randomly.randrange(column * 48, column * 48 + 47 - side), randomly.randrange(0, 71 - side)
        colour = tuple(randomly.choice([randomly.randrange(0, 40), randomly.randrange(190, 255)]) for _ in range(3))
        box = [left, top, left + side, top + side]
        (pencil.rectangle if kind == 0 else pencil.ellipse)(box, fill=colour)
        objects.append((kind, box))
    picture.save(path)
    return objects


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """200 pictures with annotations in COCO's format, ids with gaps; and 12 more with their truth."""
    folder, randomly = tmp_path_factory.mktemp("shapes"), random.Random(0)
    coco = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "square"}, {"id": 3, "name": "disc"}]}
    for i in range(200):
        coco["images"].append({"id": 100 + 2 * i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE * 3 // 4})
        for kind, (left, top, right, bottom) in draw(folder / f"{i}.png", randomly):
            coco["annotations"].append({"id": len(coco["annotations"]), "image_id": 100 + 2 * i, "category_id": [7, 3][kind],
                                        "bbox": [left, top, right - left, bottom - top], "iscrowd": 0})
    (folder / "boxes.json").write_text(json.dumps(coco))
    new = {}
    for i in range(12):
        new[folder / f"new{i}.png"] = draw(folder / f"new{i}.png", randomly)
    return folder, new


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def found_share(found, truth):
    hits = [any(f["label"] == KINDS[kind] and overlap(f["box"], box) > 0.5 for f in rows)
            for rows, objects in zip(found, truth) for kind, box in objects]
    return sum(hits) / len(hits)


def test_train_and_detect(pictures, tmp_path):
    folder, new = pictures
    flags = [part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    answer = run_json("train-detector", folder / "boxes.json", "--pictures", folder, "--output", tmp_path / "model", *flags)
    assert answer["classes"] == KINDS and answer["pictures"] == 170 and answer["held_out"] == 30 and answer["steps"] == 150
    assert answer["metrics"]["ap50"] > 0.6, answer
    lines = run("detect", *new, "--model", tmp_path / "model", "--json")[0].splitlines()
    found = [json.loads(line)["objects"] for line in lines]
    assert found_share(found, new.values()) > 0.6
    detector = plait.ObjectDetector.from_pretrained(tmp_path / "model")
    assert detector.classes == KINDS
    for path, rows in zip(new, found):
        ours = detector(path)
        assert [o.label for o in ours] == [r["label"] for r in rows]
        assert [x for o in ours for x in o.box] == pytest.approx([x for r in rows for x in r["box"]], abs=1e-3)
        width, height = Image.open(path).size
        assert all(0 <= o.box[0] <= o.box[2] <= width and 0 <= o.box[1] <= o.box[3] <= height for o in ours)


def test_python_trains_what_the_command_trains(pictures, tmp_path):
    folder, _ = pictures
    options = {**OPTIONS, "max_steps": 4, "width": 1 / 64}
    for name, architecture in (("a", "yolo_v8"), ("b", "yolo_v8"), ("c", "yolo_v5")):
        answer = plait.train_detector(folder / "boxes.json", folder, tmp_path / name, architecture=architecture, progress=False, **options)
        assert answer["steps"] == 4 and set(answer["metrics"]) >= {"ap", "ap50", "ap75", "ar100", "loss"}
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    config = json.loads((tmp_path / "c/config.json").read_text())
    assert config["network"]["type"] == "yolo_v5" and config["classes"] == KINDS


@pytest.mark.parametrize("change, message", [
    (lambda c: c["annotations"][0].update(image_id=1), "image_id"),
    (lambda c: c["annotations"][3].update(category_id=1), r"annotations\[3\]"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "bbox"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, 1e12]), "bbox"),
    (lambda c: c["images"][0].update(file_name="../x.png"), "inside of the folder"),
    (lambda c: c["images"][0].update(width=0), "width"),
    (lambda c: [i.update(width=72, height=96) for i in c["images"]], "72 x 96 pixels"),
    (lambda c: c["images"][1].update(id=100), "id of its own"),
    (lambda c: c["categories"][0].pop("name"), "name"),
    (lambda c: c.pop("images"), "images"),
    (lambda c: c.update(images=c["images"][:1], annotations=[]), "two pictures"),
    (lambda c: c.update(annotations=[]), "hold out more"),
    (lambda c: c["images"][5].update(file_name="none.png"), "none.png"),
])
def test_what_is_wrong_is_said(pictures, change, message, tmp_path):
    folder, _ = pictures
    coco = json.loads((folder / "boxes.json").read_text())
    change(coco)
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    with pytest.raises((ValueError, OSError), match=message):
        plait.train_detector(tmp_path / "boxes.json", folder, tmp_path / "out", progress=False, size=64, width=1 / 64, max_steps=12)
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_said(pictures, tmp_path):
    folder, _ = pictures
    plait.train_detector(folder / "boxes.json", folder, tmp_path / "m", progress=False, size=64, width=1 / 64, max_steps=1)
    config = json.loads((tmp_path / "m/config.json").read_text())
    for key, value in (("size", 65), ("classes", ["one"]), ("format_version", 2), ("network", {"type": "yolox", "width": 0.125})):
        (tmp_path / "m/config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises((ValueError, RuntimeError)):
            plait.ObjectDetector.from_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="multiple of 32"):
        plait.train_detector(folder / "boxes.json", folder, tmp_path / "n", progress=False, size=100)
