"""CIDEr-D of seeded captions by pycocoevalcap: tests/golden/train/cider.json."""
import json
import random

from common import FOLDER
from pycocoevalcap.cider.cider_scorer import CiderScorer

random.seed(1)
words = "a the red blue green star circle ring two three on left right and of big".split()
items = []
scorer = CiderScorer(n=4, sigma=6.0)
for i in range(12):
    references = [" ".join(random.choices(words, k=random.randint(1, 9))) for _ in range(random.randint(1, 3))]
    candidate = " ".join(random.choices(words, k=random.randint(1, 9))) if i % 3 else references[0]
    items.append({"candidate": candidate, "references": references})
    scorer += (candidate, references)
mean, scores = scorer.compute_score()
for item, score in zip(items, scores):
    item["score"] = float(score)
(FOLDER / "train" / "cider.json").write_text(json.dumps({"reference": "pycocoevalcap 1.2", "mean": float(mean), "items": items}, indent=1) + "\n")
print(mean)
