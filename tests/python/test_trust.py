"""Answers that say how far each input was trusted: explanations, abstention, budgets, and the short bench."""
import json
import pathlib
import subprocess

import pytest
import torch

import plait

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"


@pytest.fixture(scope="module")
def model(trained):
    return trained[0]


@pytest.fixture(scope="module")
def item(digits):
    return digits[2][3]


def noise_like(picture):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, picture.shape, generator=generator, dtype=torch.uint8)


def test_explanations_are_given_when_asked_for(model, item):
    answer = model.predict(item["streams"], explain=True)
    why = answer.explain()
    assert why["class"] == answer["class"] and why["confidence"] == pytest.approx(answer.confidence, abs=1e-5)
    assert set(why["streams"]) == {"text", "image"}
    for name, stream in why["streams"].items():
        assert 0 < stream["breakage"] <= 1 and 0 <= stream["weight"] <= 1
        other = {k: v for k, v in item["streams"].items() if k != name}
        without = model.predict(other)
        if without.decided_by != "joint":  # the counterfactual does not run the network again
            assert stream["without"]["class"] == without["class"]
            assert stream["without"]["confidence"] == pytest.approx(without.confidence, abs=1e-4)
    with pytest.raises(ValueError, match="explain=True"):
        model.predict(item["streams"]).explain()


def test_a_broken_picture_is_doubted_in_words(model, item):
    broken = {**item["streams"], "image": noise_like(item["streams"]["image"])}
    good = model.predict(item["streams"], explain=True).explain()
    why = model.predict(broken, explain=True).explain()
    assert why["streams"]["image"]["breakage"] > good["streams"]["image"]["breakage"]
    assert any(line.startswith("image: ") for line in why["summary"])


def test_missing_streams_are_explained_as_none(model, item):
    why = model.predict(text=item["streams"]["text"], explain=True).explain()
    assert why["streams"]["image"] is None
    assert why["streams"]["text"]["without"] is None


def test_less_risk_abstains_more(model, digits):
    items = [digits[2][i]["streams"] for i in range(60)]
    counts = [sum(p.abstain for p in model.predict(items, risk=risk)) for risk in (0.3, 0.1, 0.01)]
    assert counts == sorted(counts)
    with pytest.raises(ValueError, match="risk"):
        model.predict(items[0], risk=0)


def test_budgets_skip_streams(model, item):
    answer = model.predict(item["streams"], max_latency_ms=1e-6)
    assert len(answer.skipped) == 1 and answer.missing == [] and answer.compute_share < 1
    left = {k: v for k, v in item["streams"].items() if k not in answer.skipped}
    assert answer["class"] == model.predict(left)["class"]
    assert model.predict(item["streams"]).skipped == []
    with pytest.raises(ValueError, match="max_latency_ms"):
        model.predict(item["streams"], max_latency_ms=-1)


def test_early_exit_answers_like_all_streams(model, digits):
    items = [digits[2][i] for i in range(40)]
    full = [model.predict(i["streams"])["class"] for i in items]
    early = [model.predict(i["streams"], early_exit=True)["class"] for i in items]
    assert sum(a == b for a, b in zip(full, early)) >= 38


def test_class_conditional_sets_hold_the_answer(model, item):
    answer = model.predict(item["streams"], class_conditional=True, coverage=0.95)
    assert answer["class"] in answer.prediction_set


def test_the_model_says_who_answers(saved):
    kept = json.loads((pathlib.Path(saved) / "calibration.json").read_text())["digit"]["trust"]
    assert {"image", "text", "text+image", "image+text"} >= {row["name"] for row in kept["groups"].values()}
    assert all(row["decider"] in {"trust", "joint", "mean", "product", "robust_product", "best_single"}
               for row in kept["groups"].values())


def test_the_command_line_explains(saved, item, tmp_path):
    import PIL.Image

    picture = tmp_path / "digit.png"
    PIL.Image.fromarray(item["streams"]["image"].numpy()).save(picture)
    arguments = [str(PLAIT), "predict", "--model", str(saved), "--image", str(picture), "--text", item["streams"]["text"]]
    said = subprocess.run([*arguments, "--explain"], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert "Why " in said.stdout and "without it" in said.stdout
    answer = json.loads(subprocess.run([*arguments, "--explain", "--json"], capture_output=True, text=True, timeout=60).stdout)
    assert answer["explanation"]["streams"]["image"]["reasons"] == [] or answer["explanation"]["summary"]


def test_the_short_bench_holds_its_bars():
    done = subprocess.run([str(PLAIT), "bench", "fusion", "--short", "--seeds", "2", "--json"], capture_output=True, text=True,
                          timeout=1200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["bars"][0]) >= {"name", "value", "bar", "holds"}
    values = {bar["name"]: bar["value"] for bar in result["bars"]}
    assert values["handwritten: accuracy at noise 10, %"] >= 97.5
    assert values["handwritten: accuracy with swapped views, %"] >= 96.0
    assert values["never worse: the deepest of them, points"] <= 1.5
    accuracy = result["tables"]["handwritten"]["methods"]
    assert accuracy["trust"]["accuracy"]["noise_10"]["mean"] > accuracy["best_single"]["accuracy"]["noise_10"]["mean"] + 0.1
