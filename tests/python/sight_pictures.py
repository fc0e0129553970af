"""Photographs that packages bring along, as uint8 RGB [H, W, 3]."""
import pathlib
import tarfile

import numpy as np
import packages
from PIL import Image

FACE_API, HUMAN = "@vladmandic/face-api@1.7.15", "@vladmandic/human@3.3.6"
GROUPS = {FACE_API: [f"sample{i}.jpg" for i in range(1, 7)], HUMAN: ["samples.jpg"]}
OBJECTS = ["chelsea.png", "coffee.png", "motorcycle_left.png", "astronaut.png", "sample2.jpg", "samples.jpg"]
FACES = ["astronaut.png", *GROUPS[FACE_API], "samples.jpg"]
DENSE = "motorcycle_left.png"  # Its maps are compared value by value


def load(name):
    for requirement, names in GROUPS.items():
        if name in names:
            with tarfile.open(packages.npm(requirement)) as archive:
                folder = "demo" if requirement == FACE_API else "assets"
                with archive.extractfile(f"package/{folder}/{name}") as file:
                    return np.array(Image.open(file).convert("RGB"))
    import skimage

    return np.array(Image.open(pathlib.Path(skimage.__file__).parent / "data" / name).convert("RGB"))
