"""Clean pictures, sounds and sentences of two splits for measuring quality (series: sensors.py).

`development` is what the thresholds of plait/models/quality/ were chosen on; only `measured` is quoted, and nothing is to be
tuned on it. Pictures and sounds are split by a hash of their name or caption; sentences are in sentences_en.txt (WordNet) and
sentences_zh.txt (LibreOffice help), and the built-in table is made from neither split.
"""
import pathlib
import zlib

import numpy as np

SPLITS = ("development", "measured")


def part(found, split, limit):
    """The first `limit` of (name, value) that belong to the split, in an order that is as good as random."""
    found = sorted(found, key=lambda item: zlib.crc32(item[0].encode()))
    return [value for name, value in found if SPLITS[zlib.crc32(name.encode()) >> 8 & 1] == split][:limit]


def stamps(stream):
    """[(caption, path)] of Plait's data set "stamps", one item for a caption."""
    import plait

    found = {}
    for items in plait.load_dataset("stamps").values():
        for item in items:
            found.setdefault(item["streams"]["text"], item["streams"][stream])
    return list(found.items())


def picture(path):
    """[H, W, 3] uint8 on white, the shorter side at most 224 pixels."""
    from PIL import Image

    image = Image.open(path).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    scale = min(1, 224 / min(image.size))
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    return np.asarray(image.crop((0, 0, min(image.width, 400), min(image.height, 400))), np.uint8)


def pictures(split, limit):
    """Scenes and textures of scikit-image and scikit-learn (a fifth, as far as there are so many), single objects on white of stamps;
    the shorter side at least 100 pixels."""
    from PIL import Image

    scenes = []
    for package in ("skimage", "sklearn"):
        folder = pathlib.Path(__import__(package).__file__).parent
        scenes += [(p.name, p) for p in folder.rglob("*") if p.suffix in (".png", ".jpg", ".jpeg") and "test" not in str(p).lower()]
    large = lambda found: [(name, path) for name, path in found if min(Image.open(path).size) >= 100]
    out = part(large(scenes), split, limit // 5)
    return [picture(path) for path in out + part(large(stamps("image")), split, limit - len(out))]


def sounds(split, limit):
    """Captions of stamps, spoken in French: float32 [N] at 16 kHz."""
    import plait

    return [plait.load_audio(path, 16000)[0].numpy() for path in part(stamps("speech"), split, limit)]


def sentences(language, split, limit):
    """Of at least 12 words ("en") or 24 characters ("zh")."""
    path = pathlib.Path(__file__).parent / f"sentences_{language}.txt"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [sentence for of, sentence in lines if of == split][:limit]
