"""Tasks of values and labels, and a search, through the Python interface."""
import json
import pathlib
import subprocess

import pytest
import torch

import plait
from plait.data import MultimodalDataset
from plait.training import Trainer, TrainingArguments

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"
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


def noisy(streams):
    return {**streams, "left": 40 * torch.randn(5, generator=torch.Generator().manual_seed(7)).double()}


def test_a_value_is_explained(model):
    streams = noisy(items(1, 6)[0]["streams"])
    answer = model.predict(streams, task="load", explain=True)
    why = answer.explain()
    assert why["class"] is None and why["confidence"] == pytest.approx(answer.confidence, abs=1e-6)
    assert why["streams"]["left"]["breakage"] > why["streams"]["right"]["breakage"]
    assert any(line.startswith("left: ") for line in why["summary"])
    for name, stream in why["streams"].items():
        (part,) = stream["parts"]
        assert part["low"] < part["mean"] < part["high"] and 0 <= stream["quality"] <= 1
        assert stream["weight"] == pytest.approx(answer.modality_weights[name])
        without = model.predict({k: v for k, v in streams.items() if k != name}, task="load")
        if without.decided_by != "joint":  # the counterfactual does not run the network again
            assert part["without"] == pytest.approx(without.value[0], abs=1e-3)
            assert stream["without"]["value"] == [pytest.approx(part["without"])]


def test_labels_are_explained_one_by_one(model):
    streams = noisy(items(1, 8)[0]["streams"])
    answer = model.predict(streams, task="tags", explain=True)
    stream = answer.explain()["streams"]["right"]
    assert [part["label"] for part in stream["parts"]] == TAGS
    assert stream["contribution_nats"] == pytest.approx(sum(part["contribution_nats"] for part in stream["parts"]))
    without = model.predict(left=streams["left"], task="tags")
    if without.decided_by != "joint":
        assert [part["without"] for part in stream["parts"]] == pytest.approx([without.scores[t] for t in TAGS], abs=1e-4)
        assert stream["without"]["labels"] == without.labels


def test_labels_that_may_be_present_and_those_that_must(model):
    test = items(120, 9)
    streams, truth = [test[i]["streams"] for i in range(120)], [test[i]["labels"]["tags"] for i in range(120)]
    sizes = []
    for coverage in (0.6, 0.8, 0.95):
        answers = model.predict(streams, task="tags", coverage=coverage)
        assert all(set(a.sure_labels) <= set(a.prediction_set) for a in answers)
        right = sum((t in a.prediction_set) if t in true else (t not in a.sure_labels) for a, true in zip(answers, truth) for t in TAGS)
        assert right > (coverage - 0.07) * 240
        sizes.append(sum(len(a.prediction_set) for a in answers))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    by_class = model.predict(streams, task="tags", coverage=0.9, class_conditional=True)
    found = [t in a.prediction_set for a, true in zip(by_class, truth) for t in true]
    assert sum(found) > 0.8 * len(found)


def test_less_risk_abstains_more_from_values_and_labels(model):
    streams = [row["streams"] for row in items(60, 10)]
    for task in ("load", "tags"):
        counts = [sum(p.abstain for p in model.predict(streams, task=task, risk=risk)) for risk in (0.5, 0.2, 0.01)]
        assert counts == sorted(counts) and counts[0] < counts[-1]


def write_rows(folder, streams):
    folder.mkdir(exist_ok=True)
    arguments = []
    for name, row in streams.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(row.tolist()))
        arguments += ["--stream", f"{name}={path}"]
    return arguments


def run(*arguments, code=0):
    done = subprocess.run([str(PLAIT), "predict", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def test_the_command_line_explains_values_and_labels(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    streams = noisy(items(1, 11)[0]["streams"])
    arguments = ["--model", tmp_path / "model", *write_rows(tmp_path / "rows", streams), "--explain"]
    said = run(*arguments, "--task", "load")
    assert "Why this answer" in said and " in [" in said and "left: " in said
    answer = json.loads(run(*arguments, "--task", "load", "--json"))
    expected = model.predict(streams, task="load", explain=True)
    assert answer["value"] == pytest.approx(expected.value, rel=1e-4)
    assert answer["explanation"].keys() == expected.explain().keys()
    assert answer["explanation"]["streams"]["right"]["parts"][0]["mean"] == pytest.approx(
        expected.explain()["streams"]["right"]["parts"][0]["mean"], rel=1e-4)
    said = run(*arguments, "--task", "tags")
    assert "may be {" in said and all(tag in said for tag in TAGS) and "nats" in said


@pytest.fixture(scope="module")
def searcher():
    vector = {"type": "vector", "features": 5}
    stream = {"encoder": vector, "processor": vector, "frozen": True}
    made = plait.MultimodalModel.from_config(
        {"width": 16, "streams": {"left": stream, "middle": stream, "right": stream}, "fusion": {"type": "concatenation"},
         "tasks": {"shared": {"type": "retrieval", "embedding": 8, "gallery": "right"}}}, classes=[])
    args = TrainingArguments(num_train_epochs=20, learning_rate=0.01, disable_tqdm=True, damaged_copies=1)
    Trainer(made, args, train_dataset=three_views(160, 2), eval_dataset=three_views(80, 3)).train()
    return made


def three_views(count, seed):
    fixed, draw = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    mixes = [torch.randn(3, 5, generator=fixed) for _ in range(3)]
    z = torch.randn(count, 3, generator=draw)
    views = [(z @ mix + 0.3 * torch.randn(count, 5, generator=draw)).double() for mix in mixes]
    return MultimodalDataset(left=list(views[0]), middle=list(views[1]), right=list(views[2]))


def test_a_search_is_explained_and_gives_a_set(searcher, tmp_path):
    test = three_views(30, 4)
    found = searcher.predict([{"right": test[i]["streams"]["right"]} for i in range(30)])
    gallery = torch.tensor([row.embedding for row in found])
    names = [f"item-{i:02d}.json" for i in range(30)]
    query = {k: v for k, v in test[3]["streams"].items() if k != "right"}
    answer = searcher.predict(query, gallery=gallery, gallery_names=names, explain=True, coverage=0.9)
    assert answer.ranking_names == [names[row] for row in answer.ranking]
    assert answer.prediction_set == answer.ranking_names[:len(answer.prediction_set)] != []
    why = answer.explain()
    assert why["class"] == answer.ranking_names[0] and why["runner_up"] == answer.ranking_names[1]
    assert why["streams"]["right"] is None and why["streams"]["left"]["without"]["class"] in names
    with pytest.raises(ValueError, match="gallery"):
        searcher.predict(query, explain=True)
    with pytest.raises(ValueError, match="name"):
        searcher.predict(query, gallery=gallery, gallery_names=names[:5])
    # The command line does the same from files, in a folder or in a list of them.
    searcher.save_pretrained(tmp_path / "model")
    (tmp_path / "gallery").mkdir()
    for i, name in enumerate(names):
        (tmp_path / "gallery" / name).write_text(json.dumps(test[i]["streams"]["right"].tolist()))
    arguments = ["--model", tmp_path / "model", *write_rows(tmp_path / "rows", query)]
    listed = tmp_path / "gallery.txt"
    listed.write_text("".join(f"gallery/{name}\n\n" for name in names))
    for source, prefix in ((tmp_path / "gallery", ""), (listed, "gallery/")):
        said = json.loads(run(*arguments, "--gallery", source, "--top", 4, "--explain", "--json"))
        assert said["ranking"] == answer.ranking[:4] and len(said["ranking_scores"]) == 4
        assert said["ranking_names"] == [prefix + name for name in answer.ranking_names[:4]]
        assert said["ranking_scores"] == pytest.approx(answer.ranking_scores[:4], abs=1e-3)
        assert said["explanation"]["class"] == prefix + answer.ranking_names[0]
    said = run(*arguments, "--gallery", tmp_path / "gallery", "--top", 4, "--explain")
    assert "90 % set: the first" in said and f"Why {answer.ranking_names[0]} rather than" in said
    listed.write_text("gallery/nowhere.json\n")
    assert "nowhere.json" in run(*arguments, "--gallery", listed, code=1)


def test_a_gallery_needs_a_retrieval_task(model):
    answer = model.predict(items(1, 6)[0]["streams"], gallery=torch.eye(3))
    assert answer.ranking is None and answer.value is not None
