"""Tasks of values and labels, and a search, through the Python interface."""
import pytest
import torch

import plait
from plait.data import MultimodalDataset
from plait.training import Trainer, TrainingArguments

TAGS = ["high", "odd"]


def items(count, seed):
    fixed, draw = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    mixes = [torch.randn(2, 5, generator=fixed) for _ in range(2)]
    z = torch.randn(count, 2, generator=draw)
    views = [z @ mix + 0.3 * torch.randn(count, 5, generator=draw) for mix in mixes]
    return MultimodalDataset(left=[v.double() for v in views[0]], right=[v.double() for v in views[1]],
                             labels={"load": (50 + 10 * z[:, 0]).tolist(),
                                     "tags": [[t for t, yes in zip(TAGS, row > 0) if yes] for row in z]})


@pytest.fixture(scope="module")
def model():
    vector = {"type": "vector", "features": 5}
    stream = {"encoder": vector, "processor": vector, "frozen": True}
    made = plait.MultimodalModel.from_config(
        {"width": 16, "streams": {"left": stream, "right": stream}, "fusion": {"type": "concatenation"},
         "tasks": {"load": {"type": "regression", "location": [50], "scale": [10]},
                   "tags": {"type": "multi_label", "labels": TAGS}}}, classes=[])
    args = TrainingArguments(num_train_epochs=8, learning_rate=0.01, disable_tqdm=True, damaged_copies=1)
    Trainer(made, args, train_dataset=items(120, 2), eval_dataset=items(60, 3)).train()
    return made


def test_a_value_comes_with_its_interval(model):
    test = items(80, 4)
    answers = model.predict([test[i]["streams"] for i in range(80)], task="load", coverage=0.8)
    truth = [test[i]["labels"]["load"] for i in range(80)]
    assert sum(a.value_low[0] <= y <= a.value_high[0] for a, y in zip(answers, truth)) > 0.65 * 80
    assert sum((a.value[0] - y) ** 2 for a, y in zip(answers, truth)) / 80 < 6 ** 2
    assert answers[0].labels is None and answers[0]["class"] is None and answers[0].decided_by
    narrow = model.predict(test[0]["streams"], task="load", coverage=0.5)
    assert narrow.value_high[0] - narrow.value_low[0] < answers[0].value_high[0] - answers[0].value_low[0]


def test_labels_come_as_a_list(model):
    test = items(80, 5)
    answers = model.predict([test[i]["streams"] for i in range(80)], task="tags")
    right = sum((t in a.labels) == (t in test[i]["labels"]["tags"]) for i, a in enumerate(answers) for t in TAGS)
    assert right > 0.8 * 160
    assert set(answers[0].scores) == set(TAGS) and answers[0].value is None
    with pytest.raises(ValueError, match="classification"):
        model.predict(test[0]["streams"], task="tags", explain=True)


def test_a_gallery_needs_a_retrieval_task(model):
    answer = model.predict(items(1, 6)[0]["streams"], gallery=torch.eye(3))
    assert answer.ranking is None and answer.value is not None
