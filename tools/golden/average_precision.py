"""COCO's figures by pycocotools (`pip install --no-deps pycocotools==2.0.11`) for seeded boxes, and scikit-learn's Jaccard
score of seeded masks → tests/golden/train/average_precision.safetensors."""
import contextlib
import importlib.metadata
import io
import pathlib

import numpy as np
import sklearn
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.numpy import save_file
from sklearn.metrics import jaccard_score

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "train"
rng = np.random.default_rng(0)
PICTURES, CLASSES = 24, 4
tensors, truth, found = {}, [], []
for i in range(PICTURES):
    count = 0 if i % 7 == 3 else rng.integers(1, 9)
    corner, size = rng.uniform(0, 150, (count, 2)), rng.uniform(8, 80, (count, 2))
    kinds = rng.integers(0, CLASSES - 1, count)  # The last class has no objects, only wrong detections.
    boxes = np.concatenate([corner, corner + size], 1)
    guesses = [(k, b + rng.normal(0, 4, 4)) for k, b in zip(kinds, boxes) if rng.random() < 0.85]
    guesses += [(k, b + rng.normal(0, 9, 4)) for k, b in zip(kinds, boxes) if rng.random() < 0.5]
    guesses += [(rng.integers(0, CLASSES), np.concatenate([c, c + s])) for c, s in
                zip(rng.uniform(0, 150, (3, 2)), rng.uniform(8, 80, (3, 2)))]
    if i % 5 == 4:  # More than are looked at.
        guesses += [(0, np.concatenate([c, c + 10])) for c in rng.uniform(0, 150, (120, 2))]
    guesses = [(k, np.concatenate([np.minimum(b[:2], b[2:]), np.maximum(b[:2], b[2:])])) for k, b in guesses]
    scores = np.round(rng.random(len(guesses)), 2)  # Rounded: ties.
    tensors[f"truth.{i}"] = np.concatenate([kinds[:, None], boxes], 1).astype(np.float64).reshape(-1, 5)
    tensors[f"found.{i}"] = np.array([[k, s, *b] for (k, b), s in zip(guesses, scores)], dtype=np.float64).reshape(-1, 6)
    truth += [dict(id=len(truth) + 1 + j, image_id=i + 1, category_id=int(k) + 1, bbox=[*b[:2], *(b[2:] - b[:2])],
                   area=float(np.prod(b[2:] - b[:2])), iscrowd=0) for j, (k, b) in enumerate(zip(kinds, boxes))]
    found += [dict(image_id=i + 1, category_id=int(k) + 1, score=float(s), bbox=[*b[:2], *(b[2:] - b[:2])])
              for (k, b), s in zip(guesses, scores)]

with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO()
    coco.dataset = dict(info={}, images=[dict(id=i + 1, width=300, height=300) for i in range(PICTURES)], annotations=truth,
                        categories=[dict(id=k + 1, name=str(k)) for k in range(CLASSES)])
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
for name, index in (("ap", 0), ("ap50", 1), ("ap75", 2), ("ar100", 8)):
    tensors[f"outputs.{name}"] = np.asarray(evaluation.stats[index])
precision = evaluation.eval["precision"][:, :, :, 0, 2]  # [thresholds, recalls, classes]
tensors["outputs.per_class"] = precision.mean((0, 1))  # −1 for a class without objects
masks, guesses = rng.integers(0, 4, (5, 20, 30)), rng.integers(0, 5, (5, 20, 30))
guesses = np.where(rng.random(masks.shape) < 0.6, masks, guesses)
tensors |= {"masks.target": masks, "masks.predicted": guesses,
            "outputs.mean_iou": np.asarray(jaccard_score(masks.ravel(), guesses.ravel(), average="macro"))}
print({k: float(v) if v.ndim == 0 else v for k, v in tensors.items() if k.startswith("outputs")})
save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, FOLDER / "average_precision.safetensors",
          metadata={"reference": f"pycocotools {importlib.metadata.version('pycocotools')}, scikit-learn {sklearn.__version__}"})
