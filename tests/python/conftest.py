"""Fixtures of the tests of the Python package: models small enough for seconds, on real inputs."""
import pathlib

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "data" / "files"

torch.set_num_threads(1)  # tiny models: a second thread only waits

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write_text_encoder(folder):
    """A BERT of one layer in the Hugging Face layout, with a tokenizer for a few words and all letters."""
    import tokenizers
    import transformers

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "digit", *DIGITS, *letters, *("##" + c for c in letters)]
    ids = {token: i for i, token in enumerate(vocab)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(vocab[:5])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(vocab), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64, max_position_embeddings=32)
    transformers.BertModel(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory):
    return write_text_encoder(tmp_path_factory.mktemp("text") / "encoder")


def close(a, b, tolerance=1e-5):
    assert a["class"] == b["class"] and a.missing == b.missing and a.prediction_set == b.prediction_set
    assert a.confidence == pytest.approx(b.confidence, abs=tolerance)
    assert a.modality_weights == pytest.approx(b.modality_weights, abs=tolerance)
    assert a.scores == pytest.approx(b.scores, abs=tolerance)


def tiny(name):
    import plait

    (entry,) = [row for row in plait.registered_models() if row["name"] == name]
    return {"type": name, **entry["tiny"]}


@pytest.fixture(scope="session")
def every_stream(text_encoder):
    """The config of a model with a stream of every modality; nothing in it is trained."""
    return {
        "width": 32,
        "streams": {
            "text": {"encoder": {"pretrained": str(text_encoder)}, "frozen": True},
            "image": {"encoder": tiny("picture_net"), "processor": {"type": "image", "size": 32}},
            "audio": {"encoder": tiny("temporal_audio"), "processor": {"type": "log_mel", "mels": 8, "seconds": 2}},
            "series": {"encoder": tiny("patch_series"), "processor": {"type": "series", "channels": 3, "max_length": 32}},
            "table": {"encoder": {**tiny("ft_transformer"), "numeric_fields": 2, "cardinalities": [3]},
                      "processor": {"type": "table", "numeric": ["height", "weight"], "categorical": {"colour": ["red", "green"]}}},
        },
        "fusion": {"type": "drg"},
        "tasks": {"digit": {"type": "classification"}, "shared": {"type": "retrieval", "embedding": 16}},
    }


@pytest.fixture(scope="session")
def untrained(every_stream):
    import plait

    return plait.MultimodalModel.from_config(every_stream, classes=DIGITS, seed=3)


@pytest.fixture(scope="session")
def digits():
    """Handwritten digits (8×8 scans) beside their spoken names in writing: (train, validation, test)."""
    import plait
    from sklearn.datasets import load_digits

    loaded = load_digits()
    grey = torch.tensor(loaded.images / 16 * 255).round().to(torch.uint8)
    pictures = grey.repeat_interleave(4, 1).repeat_interleave(4, 2).unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    names = [DIGITS[t] for t in loaded.target]

    def part(first, count):
        rows = range(first, first + count)
        return plait.MultimodalDataset(text=[f"the digit {names[i]}" for i in rows], image=[pictures[i] for i in rows],
                                       labels={"digit": [names[i] for i in rows]}, ids=[f"digit-{i}" for i in rows])

    return part(0, 400), part(400, 100), part(500, 100)


def digits_config(text_encoder):
    return {
        "width": 32,
        "streams": {"text": {"encoder": {"pretrained": str(text_encoder)}, "frozen": True},
                    "image": {"encoder": tiny("picture_net"), "processor": {"type": "image", "size": 32}}},
        "fusion": {"type": "drg"},
        "tasks": {"digit": {"type": "classification"}, "shared": {"type": "retrieval", "embedding": 16}},
    }


@pytest.fixture(scope="session")
def trained(text_encoder, digits, tmp_path_factory):
    """(model, result of training, output folder): trained on real digits in seconds."""
    import plait

    model = plait.MultimodalModel.from_config(digits_config(text_encoder), classes=DIGITS, seed=1)
    output = tmp_path_factory.mktemp("training")
    args = plait.TrainingArguments(output_dir=str(output), learning_rate=1e-2, num_train_epochs=8, modality_dropout=0.3,
                                   damaged_copies=0, seed=1)
    result = plait.Trainer(model, args=args, train_dataset=digits[0], eval_dataset=digits[1]).train()
    return model, result, output


@pytest.fixture(scope="session")
def saved(trained, tmp_path_factory):
    """The folder of the trained model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained[0].save_pretrained(folder)
    return folder
