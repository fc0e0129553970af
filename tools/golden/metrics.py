"""Figures of scikit-learn and SciPy on seeded data with ties → tests/golden/train/metrics.safetensors."""
import pathlib

import numpy as np
import scipy.stats
import sklearn
import sklearn.metrics as m
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "train"
rng = np.random.default_rng(0)
N, K = 200, 7
target = rng.integers(0, K - 1, N)  # Class K - 1 never occurs.
logits = rng.normal(size=(N, K)) + 1.5 * np.eye(K)[target]
probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
predicted = probabilities.argmax(1)
scores = np.round(rng.normal(size=N) + 0.8 * (target < 2), 1)  # Rounded: many ties.
other = np.round(scores + rng.normal(size=N), 1)
prediction = rng.normal(size=(N, 2))
truth = prediction + 0.5 * rng.normal(size=(N, 2))

inputs = {"target": target, "probabilities": probabilities, "scores": scores, "positive": (target < 2).astype(np.int64),
          "other": other, "prediction": prediction, "truth": truth}
one_hot = np.eye(K)[target]
outputs = {
    "accuracy": m.accuracy_score(target, predicted),
    "top_3": m.top_k_accuracy_score(target, probabilities, k=3, labels=range(K)),
    "macro_f1": m.f1_score(target, predicted, average="macro"),
    "nll": m.log_loss(target, probabilities, labels=range(K)),
    "brier": ((probabilities - one_hot) ** 2).sum(1).mean(),
    "auroc": m.roc_auc_score(target < 2, scores),
    "spearman": scipy.stats.spearmanr(scores, other).statistic,
    "mse": m.mean_squared_error(truth, prediction),
    "mae": m.mean_absolute_error(truth, prediction),
    "confusion": m.confusion_matrix(target, predicted, labels=range(K)),
}
# Definitions written out, for what the packages do not have.
confidence, right = probabilities.max(1), predicted == target
edges, ece = np.linspace(0, 1, 16), 0.0
for low, high in zip(edges[:-1], edges[1:]):
    inside = (confidence > low) & (confidence <= high)
    if inside.any():
        ece += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
errors = (~right[np.argsort(-confidence, kind="stable")]).astype(float)
outputs["ece"] = ece
outputs["aurc"] = (np.cumsum(errors) / np.arange(1, N + 1)).mean()
outputs["risk_80"] = errors[: int(np.ceil(0.8 * N))].mean()
ss = ((truth - prediction) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
outputs["r2"] = 1 - ss[0] / ss[1]
tensors = {f"inputs.{k}": torch.as_tensor(np.ascontiguousarray(v)) for k, v in inputs.items()}
tensors |= {f"outputs.{k}": torch.as_tensor(np.asarray(v)) for k, v in outputs.items()}
FOLDER.mkdir(parents=True, exist_ok=True)
save_file(tensors, FOLDER / "metrics.safetensors",
          metadata={"reference": f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}"})
