"""Says what is in pictures and where, and which faces are alike: python examples/detect_objects.py photo.jpg [more.jpg ...]"""
import itertools
import sys

import plait


def look(paths):
    # [snippet: detect]
    things = plait.ObjectDetector.from_pretrained()  # fetched by its package's name the first time
    faces = plait.FaceDetector.from_pretrained()
    labels = plait.ImageClassifier.from_pretrained()
    people = []
    for path in paths:
        best = labels(path, top=1)[0]
        print(f"{path}: as a whole {best.label} ({best.probability:.2f})")
        for thing in things(path):
            print(f"  {thing.score:.2f}  {thing.label:14}", *(f"{side:5.0f}" for side in thing.box))
        for face in faces(path):
            print(f"  {face.score:.2f}  {'face':14}", *(f"{side:5.0f}" for side in face.box))
            if face.embedding is not None:
                people.append((path, face))
    for (one, a), (other, b) in itertools.combinations(people, 2):
        print(f"faces of {one} and {other}: {a.similarity(b):.2f}")
    # [end]


look(sys.argv[1:])
