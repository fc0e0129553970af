"""The model that ships with Plait: streams text, image and audio, tasks "category" and "shared"."""
import numpy as np
import pytest
import torch

import plait
from conftest import FILES


@pytest.fixture(scope="module")
def model():
    return plait.MultimodalModel()


def test_it_has_its_streams_tasks_and_card(model):
    assert model.streams == {"text": "text", "image": "image", "audio": "audio"}
    assert model.tasks[0] == "category" and "shared" in model.tasks
    assert "licence" in model.card.lower() and model.version


def test_it_answers_from_any_subset(model):
    everything = {"text": "a photo of a dog", "image": FILES / "picture.png", "audio": FILES / "sound.wav"}
    names = list(everything)
    for bits in range(1, 8):
        given = {n: everything[n] for i, n in enumerate(names) if bits >> i & 1}
        answer = model.predict(given)
        assert set(answer.missing) == set(names) - set(given)
        assert sum(answer.modality_weights.values()) == pytest.approx(1, abs=1e-4)
        assert answer["class"] in answer.scores and 0 < answer.confidence <= 1
        assert answer.model_version == model.version


def test_words_say_what_they_mean(model):
    assert model.predict(text="a red apple")["class"] != model.predict(text="an aeroplane in the sky")["class"]


def test_it_chooses_among_any_labels(model):
    for text, labels, right in [("a small dog", ["a cat", "a dog", "a car"], "a dog"),
                                ("school bus", ["an apple", "a bus", "a face"], "a bus"),
                                ("汽车", ["车", "狗", "苹果"], "车")]:
        chosen = model.predict(text=text, labels=labels)
        assert chosen["class"] == right and chosen.task == "shared", (text, chosen.scores)
    embedding = torch.tensor(model.predict(text="a dog", task="shared")["embedding"])
    assert embedding.norm().item() == pytest.approx(1, abs=1e-4)


def test_texts_alike_lie_near(model):
    dog, puppy, ship = (torch.tensor(model.predict(text=t, task="shared")["embedding"]) for t in ("a dog", "a puppy", "a ship"))
    assert dog @ puppy > dog @ ship


def test_noise_weighs_less(model):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    clean = model.predict(text="a red apple", image=FILES / "picture.png")
    noisy = model.predict(text="a red apple", image=noise)
    assert noisy.quality["image"] < clean.quality["image"]
    assert noisy.modality_weights["image"] < 0.5


def test_it_explains_its_answers(model):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    why = model.predict(text="a red apple", image=noise, explain=True).explain()
    assert any(line.startswith("image: ") for line in why["summary"]) and why["streams"]["image"]["reasons"]
    assert set(why["streams"]["text"]["without"]) == {"class", "confidence"} and why["streams"]["audio"] is None


def test_it_stops_early_where_it_may(model):
    everything = {"text": "a red apple", "image": FILES / "picture.png", "audio": FILES / "sound.wav"}
    full = model.predict(everything, early_exit=True, early_exit_loss=0.0)
    assert full.compute_share == 1 and full.skipped == []
    loose = model.predict(everything, early_exit=True, early_exit_loss=0.05)
    assert loose.compute_share <= 1 and set(loose.skipped) < set(everything)
    with pytest.raises(ValueError, match="early_exit_loss"):
        model.predict(everything, early_exit=True, early_exit_loss=2)


def test_it_is_loaded_by_name_and_size(model):
    for other in (plait.MultimodalModel.from_pretrained("plait-base"), plait.MultimodalModel(model_size="base", batch_size=4)):
        assert other.predict(text="a dog")["class"] == model.predict(text="a dog")["class"]


def test_the_other_interface_s_names_lead_here(model):
    import deepseek

    assert deepseek.DeepSeekModel.from_pretrained("deepseek-base").version == model.version
    assert deepseek.MultimodalModel.from_pretrained("deepseek/base-v1").card == model.card


def test_text_and_image_features(model):
    data = plait.MultiModalDataset(["a dog", "a cat"], [FILES / "picture.png", FILES / "picture.jpg"])
    assert data.text_features.shape[0] == 2 and data.image_features.shape[0] == 2
    torch.testing.assert_close(data.text_features[0], model.encode_text("a dog").pooled)
