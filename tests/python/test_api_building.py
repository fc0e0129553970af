"""Models made from configs and folders, data sets, compute by shares; what is refused, and how."""
import json
import threading

import pytest

import plait
from conftest import DIGITS, close, digits_config, tiny


def test_untrained_models_are_refused(untrained, tmp_path):
    untrained.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="untrained"):
        plait.MultimodalModel.from_pretrained(tmp_path / "model")
    model = plait.MultimodalModel.from_pretrained(tmp_path / "model", untrained=True)
    close(model.predict(text="a digit"), untrained.predict(text="a digit"))


@pytest.mark.parametrize("options, message", [
    ({"model_size": "huge"}, "tiny, base, large"),
    ({"backend": "abacus"}, "cpu"),
    ({"batch_size": 0}, "dynamic"),
    ({"batch_size": 64, "max_batch_size": 32}, "1 to 32"),
    ({"endpoint": "http://localhost"}, "endpoint"),
])
def test_wrong_options_list_the_valid_ones(options, message):
    with pytest.raises(ValueError, match=message):
        plait.MultimodalModel(**options)


def test_wrong_options_of_from_pretrained(saved):
    for options, message in [({"device": "abacus"}, "cpu"), ({"dtype": "int8"}, "bfloat16"), ({"task": "caption"}, "digit"),
                             ({"max_batch_size": 0}, "max_batch_size")]:
        with pytest.raises(ValueError, match=message):
            plait.MultimodalModel.from_pretrained(saved, **options)
    if "cuda" not in plait.available_backends():
        with pytest.raises(RuntimeError, match="(?i)cuda"):
            plait.MultimodalModel.from_pretrained(saved, device="cuda")
    with pytest.raises((ValueError, FileNotFoundError), match="no-such-model"):
        plait.MultimodalModel.from_pretrained("no-such-model")
    assert plait.MultimodalModel.available_backends() == plait.available_backends()
    assert "cpu" in plait.available_backends()


def test_damaged_folders_are_named(saved, tmp_path):
    import shutil

    for file, error in [("config.json", plait.DataError), ("model.safetensors", plait.DataError)]:
        folder = tmp_path / file
        shutil.copytree(saved, folder)
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) // 2])
        with pytest.raises(error, match=file):
            plait.MultimodalModel.from_pretrained(folder)
    newer = tmp_path / "newer"
    shutil.copytree(saved, newer)
    config = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(json.dumps({**config, "format_version": 99}))
    with pytest.raises(ValueError, match="format_version.*99"):
        plait.MultimodalModel.from_pretrained(newer)


def test_datasets_are_columns():
    data = plait.MultimodalDataset(text=["a", None, "c"], image=["1.png", "2.png", None], labels={"kind": ["x", "y", "x"]})
    assert len(data) == 3 and data.streams == ["text", "image"]
    assert data[1] == {"id": "1", "streams": {"image": "2.png"}, "labels": {"kind": "y"}}
    assert [row["id"] for row in data[1:]] == ["1", "2"] and data[-1]["streams"] == {"text": "c"}
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(ValueError, match="equal length"):
        plait.MultimodalDataset(text=["a"], image=["1.png", "2.png"])
    with pytest.raises(ValueError, match="at least one stream"):
        plait.MultimodalDataset(labels={"kind": ["x"]})


def test_datasets_by_name_are_listed():
    names = {row["name"] for row in plait.list_datasets()}
    assert "stamps" in names
    assert all(row["licence"] and row["streams"] for row in plait.list_datasets())
    with pytest.raises(ValueError, match="stamps"):
        plait.load_dataset("no-such-data")


def test_datasets_of_one_s_own_files(trained, digits, tmp_path):
    import PIL.Image

    (tmp_path / "pictures").mkdir()
    for part, rows in (("train", digits[0][:6]), ("test", digits[2][:3])):
        lines = []
        for row in rows:
            PIL.Image.fromarray(row["streams"]["image"].numpy()).save(tmp_path / "pictures" / f"{row['id']}.png")
            lines.append({"id": row["id"], "text": row["streams"]["text"], "image": f"pictures/{row['id']}.png", **row["labels"]})
        lines[0]["text"] = None
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    data = plait.load_dataset(tmp_path, streams=["text", "image"])
    assert set(data) == {"train", "test"} and len(data.train) == 6 and data.info["label"] == "digit"
    assert data.classes == sorted({row["labels"]["digit"] for row in [*digits[0][:6], *digits[2][:3]]})
    assert set(data.train[0]["streams"]) == {"image"} and data.train[1]["streams"]["text"] == digits[0][1]["streams"]["text"]
    for row, original in zip(data.test, digits[2][:3]):
        close(trained[0].predict(image=row["streams"]["image"]), trained[0].predict(image=original["streams"]["image"]))
    alone = plait.load_dataset(tmp_path / "test.jsonl", streams={"text": "text"})
    assert len(alone.train) == 3 and "image" in alone.train[0]["labels"]
    with pytest.raises(ValueError, match="streams"):
        plait.load_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        plait.load_dataset(tmp_path / "nowhere.jsonl", streams=["text"])
    (tmp_path / "train.jsonl").write_text("{broken\n")
    with pytest.raises(plait.DataError, match="train.jsonl"):
        plait.load_dataset(tmp_path, streams=["text"])


def test_an_encoder_from_nothing_brings_its_tokenizer(text_encoder, every_stream):
    config = {**every_stream, "streams": {"text": {"encoder": {**tiny("bert"), "vocab_size": 69}, "processor": {"type": "text"}}}}
    model = plait.MultimodalModel.from_config(config, classes=DIGITS, directory=text_encoder)
    assert model.predict(text="the digit two")["class"] in DIGITS
    with pytest.raises(FileNotFoundError, match="tokenizer|vocab"):
        plait.MultimodalModel.from_config(config, classes=DIGITS)


def test_models_are_built_in_several_threads_at_once(every_stream):
    built, errors = [], []

    def build(seed):
        try:
            built.append(plait.MultimodalModel.from_config(every_stream, classes=DIGITS, seed=seed))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=build, args=(seed,)) for seed in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors and len(built) == 4


def test_config_errors_name_the_path(every_stream):
    import copy

    for change, message in [
        (lambda c: c["fusion"].update(type="magic"), "magic|drg"),
        (lambda c: c["streams"]["image"]["encoder"].update(depth=3), "depth"),
        (lambda c: c["streams"]["image"].pop("processor"), "processor"),
        (lambda c: c["tasks"]["digit"].update(type="poetry"), "poetry|classification"),
        (lambda c: c["streams"]["text"]["encoder"].update(pretrained="/nowhere"), "nowhere"),
        (lambda c: c.pop("streams"), "streams"),
    ]:
        config = copy.deepcopy(every_stream)
        change(config)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            plait.MultimodalModel.from_config(config, classes=DIGITS)


def test_compute_follows_the_shares_asked_for(text_encoder, digits):
    config = digits_config(text_encoder)
    config["streams"]["image"]["encoder"] = {"type": "picture_net", "channels": [8, 16, 32], "stem_channels": 8}
    plain = plait.MultimodalModel.from_config(config, classes=DIGITS)
    assert "compute" not in plain.config
    model = plait.MultimodalModel.from_config(config, classes=DIGITS, compute={"share": {"image": 85, "text": 15}},
                                              train_dataset=digits[0], eval_dataset=digits[1])
    plan = model.config["compute"]
    assert plan["realised"]["image"] == pytest.approx(0.85, abs=0.02)
    assert sum(plan["realised"].values()) == pytest.approx(1)
    assert model.config["streams"]["text"]["encoder"] == plain.config["streams"]["text"]["encoder"]
    with pytest.raises(ValueError, match="reachable alone"):
        plait.MultimodalModel.from_config(config, classes=DIGITS, train_dataset=digits[0],
                                          compute={"share": {"image": 0.85, "text": 0.15}, "multiply_adds": 1000})
    with pytest.raises(ValueError, match="train_dataset"):
        plait.MultimodalModel.from_config(config, classes=DIGITS, compute={"share": "importance"})
