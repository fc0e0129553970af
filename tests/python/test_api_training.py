"""Training, saving and answering of a small model on real digits; caches, threads, steps."""
import json
import threading

import pytest
import torch

import plait
from conftest import DIGITS, close, digits_config


def answers(model, dataset, **options):
    return model.predict([item["streams"] for item in dataset], **options)


def accuracy(predictions, dataset):
    return sum(p["class"] == item["labels"]["digit"] for p, item in zip(predictions, dataset)) / len(dataset)


def test_training_learns(trained, digits):
    model, result, _ = trained
    assert result["steps"] == 8 * 13  # 400 items in batches of 32
    test = digits[2]
    assert accuracy(answers(model, test), test) > 0.85  # a hundred items calibrate; other people wrote the test's
    pictures = [{"image": item["streams"]["image"]} for item in test]
    assert accuracy(model.predict(pictures), test) > 0.5  # chance is 0.1
    assert model.predict(text="the digit seven")["class"] == "seven"


def test_training_calibrates(trained):
    model = trained[0]
    calibration = model.calibration["digit"]
    assert 0 <= calibration["abstain_below"] <= 1
    certain, unsure = model.predict(text="the digit seven"), model.predict(text="zzz q")
    assert certain.confidence > unsure.confidence
    assert unsure.abstain == (unsure.confidence < calibration["abstain_below"])


def test_training_writes_a_log_and_checkpoints(trained):
    output = trained[2]
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert lines and any("loss" in line for line in lines)
    assert any(path.is_dir() and path.name.startswith("checkpoint") for path in output.iterdir())


def test_saved_model_answers_the_same(trained, saved, digits):
    model = trained[0]
    again = plait.MultimodalModel.from_pretrained(saved)
    for a, b in zip(answers(model, digits[2][:20]), answers(again, digits[2][:20])):
        close(a, b)
    assert again.calibration == model.calibration and again.streams == {"image": "image", "text": "text"}
    assert again.tasks == ["digit", "shared"] and again.config["trained"] is True
    assert sorted(p.name for p in saved.iterdir()) == ["calibration.json", "config.json", "model.safetensors", "streams"]
    assert json.loads((saved / "config.json").read_text())["model_type"] == "plait"


def test_saved_in_half_is_half_as_large(trained, saved, digits, tmp_path):
    trained[0].save_pretrained(tmp_path / "half", half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (saved, tmp_path / "half")]
    assert sizes[1] < 0.85 * sizes[0]  # the trust fusion keeps all its digits
    again = plait.MultimodalModel.from_pretrained(tmp_path / "half")
    pairs = list(zip(answers(trained[0], digits[2][:40]), answers(again, digits[2][:40])))
    # Where its two streams contradict each other, both sure, rounding may decide.
    assert sum(a["class"] == b["class"] for a, b in pairs) >= 37
    assert sum(abs(a.confidence - b.confidence) for a, b in pairs) / len(pairs) < 0.05


def test_bfloat16_is_near(saved, digits):
    model = plait.MultimodalModel.from_pretrained(saved, dtype=torch.bfloat16)
    assert all(p.dtype == torch.bfloat16 for p in model.named_parameters().values())
    assert accuracy(answers(model, digits[2][:30]), digits[2][:30]) > 0.85


def test_predict_is_encode_fuse_decode(trained, digits):
    model = trained[0]
    for item in digits[2][:5]:
        text = model.encode_text(item["streams"]["text"])
        image = model.encode_image(item["streams"]["image"])
        assert text.tokens.ndim == 2 and text.pooled.shape == (32,) and 0 <= text.quality <= 1
        close(model.decode(model.fuse([text, image])), model.predict(item["streams"]))
        close(model.decode(model.fuse([image])), model.predict(image=item["streams"]["image"]))
    with pytest.raises(ValueError, match="two of \"text\""):
        model.decode([text, text])
    with pytest.raises(ValueError, match="no audio stream; it has: text, image"):
        model.encode_audio(b"")
    with pytest.raises(ValueError, match="at least one|no stream|any stream"):
        model.decode([])


def test_every_key_is_there(trained):
    answer = trained[0].predict(text="the digit two")
    for key in ("modality_weights", "quality", "missing", "confidence", "prediction_set", "abstain", "latency_ms",
                "model_version", "class", "scores"):
        assert answer[key] is not None
        if key != "class":
            assert getattr(answer, key) == answer[key]
    for key in ("text_output", "image_generation", "audio_output", "severity_score", "bounding_box", "boxes", "heatmap"):
        assert answer[key] is None
    assert answer["class"] in answer.prediction_set and set(answer.scores) == set(DIGITS)
    assert answer.latency_ms > 0
    with pytest.raises(AttributeError, match="confidence"):
        answer.confidance


def test_coverage_decides_the_size_of_the_set(trained):
    model = trained[0]
    sizes = [len(model.predict(text="zzz q", coverage=c).prediction_set) for c in (0.01, 0.5, 0.999)]
    assert sizes[0] == 1 and sizes == sorted(sizes) and sizes[2] > 1
    for wrong in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="coverage"):
            model.predict(text="a", coverage=wrong)


def test_tasks_and_labels(trained):
    model = trained[0]
    embedding = model.predict(text="the digit two", task="shared")["embedding"]
    assert len(embedding) == 16 and sum(x * x for x in embedding) == pytest.approx(1, abs=1e-5)
    chosen = model.predict(text="the digit two", labels=["the digit two", "the digit nine"])
    assert chosen["class"] == "the digit two" and chosen.task == "shared" and len(chosen.scores) == 2
    with pytest.raises(ValueError, match="digit, shared|digit.*shared"):
        model.predict(text="a", task="caption")
    with pytest.raises(ValueError, match="labels"):
        model.predict(text="a", labels="two")


def test_threads_answer_as_one_does(trained, digits):
    model = trained[0]
    items = [item["streams"] for item in digits[2][:24]]
    alone = [model.predict(item) for item in items]
    together = [None] * len(items)
    errors = []

    def work(first):
        try:
            for i in range(first, len(items), 2):
                together[i] = model.predict(items[i])
        except Exception as error:  # a thread's exception would be lost
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
    for a, b in zip(alone, together):
        close(a, b)


def test_other_threads_run_while_one_computes(trained, digits):
    """The GIL is free during a prediction: a thread that only counts gets on."""
    model, items, counted, done = trained[0], [item["streams"] for item in digits[2]], [], threading.Event()

    def count():
        while not done.is_set():
            counted.append(1)
            done.wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(counted)
    model.predict(items)
    during = len(counted) - before
    done.set()
    thread.join()
    assert during > 3


def test_parameters_are_shared_with_the_library(saved):
    model = plait.MultimodalModel.from_pretrained(saved)
    before = model.predict(text="the digit two").scores
    parameters = model.named_parameters()
    encoder = [name for name in parameters if name.startswith("streams.text.encoder")]
    assert encoder
    again = model.named_parameters()
    assert all(parameters[n].data_ptr() == again[n].data_ptr() for n in parameters)
    with torch.no_grad():
        for name in encoder:
            parameters[name].zero_()
    assert model.predict(text="the digit two").scores != before


def test_cache_keeps_features_by_content(saved, digits):
    cache = plait.cache.FeatureCache(max_size=8)
    model = plait.MultimodalModel.from_pretrained(saved, cache=cache)
    plain = plait.MultimodalModel.from_pretrained(saved)
    item = digits[2][0]["streams"]
    for _ in range(2):
        close(model.predict(item), plain.predict(item))
    assert len(cache) == 2 and cache.stats()["hits"] == 2
    feature = model.encode_text(item["text"])
    assert feature.content_hash in cache and "nothing" not in cache
    assert torch.equal(cache[feature.content_hash]["pooled"], feature.pooled)
    assert cache.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        cache["nothing"]
    # A cached feature is used; another weight means another key.
    kept = cache[feature.content_hash]
    cache[feature.content_hash] = {**kept, "pooled": torch.zeros_like(kept["pooled"])}
    assert model.encode_text(item["text"]).pooled.abs().sum() == 0
    with torch.no_grad():
        name = next(n for n in model.named_parameters() if n.startswith("streams.text.encoder"))
        model.named_parameters()[name].add_(0.1)
    assert model.encode_text(item["text"]).content_hash != feature.content_hash
    with pytest.raises(ValueError, match="FeatureCache"):
        plait.MultimodalModel.from_pretrained(saved, cache={})


def test_cache_serves_several_threads(saved, digits):
    model = plait.MultimodalModel.from_pretrained(saved, cache=plait.cache.FeatureCache(max_size=4))  # much is forgotten
    items = [item["streams"] for item in digits[2][:10]]
    expected = plait.MultimodalModel.from_pretrained(saved).predict(items)
    answers = {}

    def work(name):
        answers[name] = model.predict(items)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(answers) == 3
    for given in answers.values():
        for a, b in zip(given, expected):
            close(a, b, tolerance=1e-4)  # one by one here, together there


def test_cache_forgets_the_oldest_and_survives_on_disk(tmp_path):
    cache = plait.cache.FeatureCache(max_size=2)
    for name in "abc":
        cache[name] = torch.tensor([ord(name)])
    assert len(cache) == 2 and "a" not in cache and cache["c"]["value"].item() == ord("c")
    cache.clear()
    assert len(cache) == 0
    plait.cache.FeatureCache(path=tmp_path / "features")["k"] = {"pooled": torch.arange(4.0)}
    assert torch.equal(plait.cache.FeatureCache(path=str(tmp_path / "features"))["k"]["pooled"], torch.arange(4.0))
    with pytest.raises(ValueError, match="max_size"):
        plait.cache.FeatureCache(max_size=0)


def small(digits, text_encoder, **arguments):
    model = plait.MultimodalModel.from_config(digits_config(text_encoder), classes=DIGITS, seed=2)
    arguments = {"learning_rate": 3e-3, "num_train_epochs": 1, "per_device_train_batch_size": 8, "seed": 2, **arguments}
    args = plait.TrainingArguments(**arguments)
    return model, plait.Trainer(model, args=args, train_dataset=digits[0][:32], eval_dataset=digits[1][:16])


def test_training_is_repeatable(digits, text_encoder):
    weights = []
    for _ in range(2):
        model, trainer = small(digits, text_encoder)
        trainer.train()
        weights.append({n: p.clone() for n, p in model.named_parameters().items()})
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    other, trainer = small(digits, text_encoder, seed=3)
    trainer.train()
    assert any(not torch.equal(weights[0][n], p) for n, p in other.named_parameters().items())


def test_frozen_encoders_stay_as_they_are(digits, text_encoder):
    model, trainer = small(digits, text_encoder)
    before = {n: p.clone() for n, p in model.named_parameters().items()}
    trainer.train()
    changed = {n for n, p in model.named_parameters().items() if not torch.equal(before[n], p)}
    assert not any(n.startswith("streams.text.encoder") for n in changed)
    assert any(n.startswith("streams.image.encoder") for n in changed)
    assert any(n.startswith("fusion") for n in changed)


def test_items_may_lack_streams(digits, text_encoder):
    model, _ = small(digits, text_encoder)
    rows = [{**row, "streams": {"text": row["streams"]["text"]}} for row in digits[0][:70]] + list(digits[0][70:100])
    args = plait.TrainingArguments(learning_rate=3e-3, num_train_epochs=1, seed=2)
    without = plait.MultimodalDataset.from_rows(rows[:20])  # not one picture among them
    result = plait.Trainer(model, args, train_dataset=plait.MultimodalDataset.from_rows(rows), eval_dataset=without).train()
    assert result["steps"] == 4 and result["metrics"]["loss"] > 0
    assert model.predict(image=digits[2][0]["streams"]["image"]).missing == ["text"]


def test_a_loaded_model_is_trained_further(saved, digits):
    model = plait.MultimodalModel.from_pretrained(saved)
    before = {n: p.clone() for n, p in model.named_parameters().items()}
    args = plait.TrainingArguments(learning_rate=3e-3, max_steps=3, weight_decay=0.5, seed=1)
    plait.Trainer(model, args, train_dataset=digits[0][:64], eval_dataset=digits[1][:16]).train()
    changed = {n for n, p in model.named_parameters().items() if not torch.equal(before[n], p)}
    assert any(n.startswith("streams.image.encoder") for n in changed) and any(n.startswith("fusion") for n in changed)
    assert not any(n.startswith("streams.text.encoder") for n in changed), "the frozen encoder has changed"


def test_optimizer_and_epochs_as_arguments(digits, text_encoder):
    model, _ = small(digits, text_encoder)
    trainer = plait.Trainer(model, optimizer=plait.AdamW(lr=5e-4, weight_decay=0.1), train_dataset=digits[0][:32],
                            eval_dataset=digits[1][:16])
    assert trainer.args.learning_rate == 5e-4 and trainer.args.weight_decay == 0.1
    assert trainer.train(epochs=2, batch_size=16)["steps"] == 4


def test_resuming_continues(digits, text_encoder, tmp_path):
    whole, trainer = small(digits, text_encoder, num_train_epochs=2, output_dir=str(tmp_path / "whole"))
    trainer.train()
    _, trainer = small(digits, text_encoder, num_train_epochs=2, max_steps=8, output_dir=str(tmp_path / "parts"))

    class Stop(Exception):
        pass

    def interrupt(stage, done, total, note):
        if stage == "train" and done >= 6:
            raise Stop

    with pytest.raises(Stop):
        trainer.train(callback=interrupt)
    resumed, trainer = small(digits, text_encoder, num_train_epochs=2, max_steps=8, output_dir=str(tmp_path / "parts"),
                             resume_from_checkpoint=True)
    assert trainer.train()["steps"] == 8
    for name, tensor in whole.named_parameters().items():
        torch.testing.assert_close(resumed.named_parameters()[name], tensor, rtol=1e-4, atol=1e-5)


def test_wrong_arguments_of_training(digits, text_encoder):
    for arguments, message in [({"learning_rate": -1.0}, "learning_rate"), ({"lr_scheduler": "moon"}, "cosine"),
                               ({"modality_dropout": 1.0}, "modality_dropout")]:
        with pytest.raises(ValueError, match=message):
            small(digits, text_encoder, **arguments)[1].train()
    model, _ = small(digits, text_encoder)
    with pytest.raises(ValueError, match="eval_dataset"):
        plait.Trainer(model, train_dataset=digits[0]).train()
    with pytest.raises(ValueError, match="distributed_strategy"):
        plait.Trainer(model, distributed_strategy="DDP")
    wrong = plait.MultimodalDataset(text=["a", "b"], labels={"digit": ["eleven", "one"]})
    with pytest.raises(ValueError, match="0: expected a label of task \"digit\""):
        plait.Trainer(model, train_dataset=wrong, eval_dataset=wrong).train()


def test_streams_are_shown_in_the_ratio_asked_for(text_encoder, digits):
    model = plait.MultimodalModel.from_config(digits_config(text_encoder), classes=DIGITS)
    args = plait.TrainingArguments(num_train_epochs=2, damaged_copies=0, modality_ratio={"text": 0.5})
    result = plait.Trainer(model, args=args, train_dataset=digits[0], eval_dataset=digits[1]).train()
    assert result["shown"]["image"] == 1 and result["shown"]["text"] == pytest.approx(0.5, abs=0.05)
    args = plait.TrainingArguments(modality_ratio={"smell": 1})
    with pytest.raises(ValueError, match="smell"):
        plait.Trainer(model, args=args, train_dataset=digits[0], eval_dataset=digits[1]).train()
