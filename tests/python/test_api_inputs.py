"""What a stream's value may be: every form of the same thing gives the same answer; wrong ones say what was expected."""
import io
import math
import pathlib

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

import plait
from conftest import FILES

CHANNELS_FIRST = (2, 0, 1)


def same(a, b):
    assert a["scores"].keys() == b["scores"].keys()
    for label, score in a["scores"].items():
        assert score == pytest.approx(b["scores"][label], abs=1e-6)
    assert a["quality"] == pytest.approx(b["quality"], abs=1e-6)


def picture_forms():
    path = FILES / "picture.png"
    picture = PIL.Image.open(path)
    array = np.array(picture.convert("RGB"))
    webp = io.BytesIO()
    picture.save(webp, "WEBP", lossless=True)
    return {"str": str(path), "path": path, "bytes": path.read_bytes(), "bytearray": bytearray(path.read_bytes()),
            "memoryview": memoryview(path.read_bytes()),
            "webp": webp.getvalue(), "pil": picture, "numpy": array, "tensor": torch.from_numpy(array),
            "strided": np.ascontiguousarray(array[:, ::-1])[:, ::-1], "float": torch.from_numpy(array).permute(CHANNELS_FIRST) / 255,
            "double": array.transpose(CHANNELS_FIRST) / 255.0}


def sound_forms():
    path = FILES / "sound.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    pcm, _ = soundfile.read(path, dtype="int16")
    flac = io.BytesIO()
    soundfile.write(flac, pcm, rate, format="FLAC", subtype="PCM_16")
    return {"str": str(path), "path": path, "bytes": path.read_bytes(), "flac": flac.getvalue(), "numpy": (samples, rate),
            "tensor": (torch.from_numpy(samples), rate), "double": (samples.astype(np.float64), rate), "int16": (pcm, rate),
            "numpy rate": (samples, np.int64(rate))}


@pytest.mark.parametrize("form", [f for f in picture_forms() if f != "str"])
def test_every_form_of_a_picture_is_the_same(untrained, form):
    forms = picture_forms()
    same(untrained.predict(image=forms[form]), untrained.predict(image=forms["str"]))


@pytest.mark.parametrize("form", [f for f in sound_forms() if f != "str"])
def test_every_form_of_a_sound_is_the_same(untrained, form):
    forms = sound_forms()
    same(untrained.predict(audio=forms[form]), untrained.predict(audio=forms["str"]))


def test_every_form_of_a_text_is_the_same(untrained, tmp_path):
    file = tmp_path / "caption.txt"
    file.write_text("the digit three")
    expected = untrained.predict(text="the digit three")
    same(untrained.predict(text=file), expected)
    same(untrained.predict(text=b"the digit three"), expected)


def test_every_form_of_a_series_is_the_same(untrained, tmp_path):
    values = np.sin(np.arange(60).reshape(20, 3) / 7).astype(np.float32)
    file = tmp_path / "sensor.csv"
    file.write_text("x,y,z\n" + "\n".join(",".join(repr(float(v)) for v in row) for row in values))
    expected = untrained.predict(series=values)
    for form in (torch.from_numpy(values), values.tolist(), values.astype(np.float64), file, file.read_bytes()):
        same(untrained.predict(series=form), expected)


def test_every_form_of_a_row_is_the_same(untrained, tmp_path):
    row = {"height": 1.5, "weight": 20, "colour": "red"}
    file = tmp_path / "row.json"
    file.write_text('{"height": 1.5, "weight": 20, "colour": "red"}')
    expected = untrained.predict(table=row)
    same(untrained.predict(table=file), expected)
    same(untrained.predict(table={"height": np.float32(1.5), "weight": np.int64(20), "colour": "red"}), expected)
    different = untrained.predict(table={**row, "colour": "green"})
    assert different["scores"] != expected["scores"]


def test_any_subset_of_the_streams_is_an_input(untrained):
    everything = {"text": "a digit", "image": FILES / "picture.png", "audio": FILES / "sound.wav",
                  "series": np.zeros((8, 3), np.float32), "table": {"height": 1.0}}
    for bits in range(1, 2 ** len(everything)):
        given = {name: value for i, (name, value) in enumerate(everything.items()) if bits >> i & 1}
        answer = untrained.predict(given)
        assert sorted(answer.missing) == sorted(set(everything) - set(given))
        assert sum(answer.modality_weights.values()) == pytest.approx(1, abs=1e-5)
        assert all(answer.modality_weights[name] == 0 for name in answer.missing)
        assert answer.quality.keys() == given.keys()
        assert all(0 <= q <= 1 for q in answer.quality.values())
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)


def test_none_is_a_missing_stream(untrained):
    same(untrained.predict(text="a digit", image=None), untrained.predict(text="a digit"))
    with pytest.raises(ValueError, match="at least one stream of: .*text"):
        untrained.predict(text=None)
    with pytest.raises(ValueError, match="at least one stream"):
        untrained.predict()


def test_a_list_of_items_is_a_batch(untrained):
    items = [{"text": "a digit"}, {"image": FILES / "picture.png", "text": "zero"}, {"audio": FILES / "sound.wav"}]
    for alone, together in zip([untrained.predict(item) for item in items], untrained.predict(items)):
        assert alone["class"] == together["class"] and alone.missing == together.missing
        assert alone.confidence == pytest.approx(together.confidence, abs=1e-5)
    assert untrained.predict([]) == []
    for wrong in ("a digit", ["a digit"], 3):
        with pytest.raises(ValueError, match="list of dicts"):
            untrained.predict(wrong)
    with pytest.raises(ValueError, match="both"):
        untrained.predict(items, text="a")


@pytest.mark.parametrize("error, message, streams", [
    (ValueError, r"text.*image.*got \"video\"", {"video": "a.mp4"}),
    (FileNotFoundError, r"image.*nowhere\.png", {"image": "nowhere.png"}),
    (FileNotFoundError, r"image", {"image": pathlib.Path("nowhere.png")}),
    (plait.DataError, r"image", {"image": b"not a picture"}),
    (plait.DataError, r"audio", {"audio": b"not a sound"}),
    (ValueError, r"image.*got object", {"image": object()}),
    (ValueError, r"image", {"image": torch.zeros(4)}),
    (ValueError, r"image", {"image": np.zeros((0, 4, 3), np.uint8)}),
    (ValueError, r"audio.*rate", {"audio": (np.zeros(100, np.float32), 0)}),
    (ValueError, r"audio.*rate", {"audio": (np.zeros(100, np.float32), "16000")}),
    (ValueError, r"audio", {"audio": (np.zeros(0, np.float32), 16000)}),
    (ValueError, r"audio", {"audio": (np.full(1600, math.nan, np.float32), 16000)}),
    (ValueError, r"series.*3", {"series": np.zeros((8, 2), np.float32)}),
    (ValueError, r"table", {"table": {"height": [1, 2]}}),
])
def test_wrong_values_name_the_stream(untrained, error, message, streams):
    with pytest.raises(error, match=message):
        untrained.predict(streams)


def test_a_bad_item_of_a_batch_is_named(untrained):
    with pytest.raises(plait.DataError, match="image of item 1"):
        untrained.predict([{"text": "a"}, {"image": b"broken"}])


def test_errors_never_contain_the_value(untrained):
    secret = "my password is hunter2"
    with pytest.raises(plait.DataError) as caught:
        untrained.predict(image=secret.encode())
    assert "hunter2" not in str(caught.value)


def test_quality_judges_every_form_alike():
    forms = picture_forms()
    assert plait.quality.image(forms["numpy"]) == pytest.approx(plait.quality.image(forms["str"]), abs=1e-6)
    assert 0 <= plait.quality.audio(FILES / "sound.wav") <= 1
    clean = plait.quality.text("A small dog runs across the green field.")
    assert clean > plait.quality.text("x#9 @@@ qqqqzzz %%%")
    score, parts = plait.quality.assess(FILES / "picture.png", "image")
    assert 0 <= score <= 1 and parts
    with pytest.raises(ValueError, match="text.*image"):
        plait.quality.assess("a", "smell")


@pytest.mark.parametrize("modality, value", [("image", FILES / "picture.png"), ("text", "the small dog runs over the field"),
                                             ("audio", FILES / "sound.wav")])
def test_damage_is_seeded(modality, value):
    kinds = plait.data.damage_kinds(modality)
    assert kinds

    def plain(damaged):
        return damaged[0] if isinstance(damaged, tuple) else damaged

    for kind in kinds:
        once, again = (plain(plait.data.damage(value, modality, kind, 0.8, seed=3)) for _ in range(2))
        assert torch.equal(once, again) if isinstance(once, torch.Tensor) else once == again
    with pytest.raises(ValueError, match=kinds[0]):
        plait.data.damage(value, modality, "moths", 0.5)


def test_load_image_and_audio():
    image = plait.load_image(FILES / "picture.png")
    np.testing.assert_array_equal(image.numpy(), np.array(PIL.Image.open(FILES / "picture.png").convert("RGB")))
    samples, rate = plait.load_audio(FILES / "sound.wav")
    expected, expected_rate = soundfile.read(FILES / "sound.wav", dtype="float32")
    assert rate == expected_rate
    np.testing.assert_allclose(samples.numpy(), expected, atol=1e-6)
    resampled, rate = plait.load_audio(str(FILES / "sound.wav"), sample_rate=8000)
    assert rate == 8000 and abs(len(resampled) - len(expected) * 8000 / expected_rate) < 3
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        plait.load_image("nowhere.png")


def test_auto_model_takes_raw_and_processed_values(text_encoder):
    import transformers

    encoder = plait.AutoModel.from_pretrained(text_encoder)
    assert encoder.modality == "text" and encoder.config["type"] == "bert"
    texts = ["the digit three", "a digit"]
    out = encoder(texts)
    tokens = encoder.process(texts)
    assert tokens["input_ids"].tolist()[0][0] == 2
    torch.testing.assert_close(encoder(**tokens).last_hidden_state, out["last_hidden_state"])
    reference = transformers.BertModel.from_pretrained(text_encoder).eval()
    with torch.no_grad():
        expected = reference(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    mask = tokens["attention_mask"].bool()
    torch.testing.assert_close(out.last_hidden_state[mask], expected[mask], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder("a digit").pooled[0], out.pooled[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(AttributeError, match="last_hidden_state"):
        out.logits


def test_tokenizer(text_encoder):
    tokenizer = plait.data.Tokenizer.from_file(str(text_encoder / "tokenizer.json"))
    ids = tokenizer.encode("The digit three")
    assert ids[0] == 2 and ids[-1] == 3 and len(ids) == 5
    assert tokenizer.decode(ids) == "the digit three"
    assert tokenizer.encode("the", add_special_tokens=False) == [5]
    assert len(tokenizer) == 69
