"""Preprocessing against its references: Pillow, transformers, librosa and scipy, on real pictures and generated sound."""

import json
import os
import pathlib
import subprocess
import wave

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", ROOT / "build"))
TOOL = BUILD / "bin" / "preprocess_tool"

# Pictures that scikit-image ships, with sizes from 512 x 512 to odd ones.
PICTURES = ["astronaut.png", "chelsea.png", "coffee.png", "camera.png", "color.png"]
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


def run(*args):
    done = subprocess.run([str(TOOL), *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def picture(name):
    import skimage

    return pathlib.Path(skimage.__file__).parent / "data" / name


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Real pictures and odd-sized parts of them, as PNG files in RGB."""
    folder = tmp_path_factory.mktemp("pictures")
    files = []
    for name in PICTURES:
        image = Image.open(picture(name)).convert("RGB")
        w, h = image.size
        for i, box in enumerate([(0, 0, w, h), (3, 5, 200, 88), (10, 10, 43, 241), (7, 0, 24, 13)]):
            files.append(folder / f"{name}-{i}.png")
            image.crop(box).save(files[-1])
    return files


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(224, 224), (31, 77), (300, 411)])
def test_resize_is_pillows(odd, tmp_path, name, size):
    worst = 0
    run("--resize", *size, name, tmp_path / "out", *odd)
    out = load_file(tmp_path / "out")
    for i, file in enumerate(odd):
        got = out[str(i)].astype(int)
        want = np.asarray(Image.open(file).resize(size[::-1], FILTERS[name])).astype(int)
        assert got.shape == want.shape
        worst = max(worst, np.abs(got - want).max())
    assert worst == 0


def processors():
    import transformers as t
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    assert t.__version__
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    return {
        "clip": (CLIPImageProcessorPil(), "CLIPImageProcessor"),
        "clip-small": (CLIPImageProcessorPil(size={"shortest_edge": 20}, crop_size={"height": 33, "width": 24}), "CLIPImageProcessor"),
        "vit": (ViTImageProcessorPil(), "ViTImageProcessor"),
        "swin": (ViTImageProcessorPil(size={"height": 256, "width": 256}, resample=3, **imagenet), "ViTImageProcessor"),
        "dinov2": (BitImageProcessorPil(size={"shortest_edge": 256}, **imagenet), "BitImageProcessor"),
        "convnext": (ConvNextImageProcessorPil(size={"shortest_edge": 224}), "ConvNextImageProcessor"),
        "convnext-384": (ConvNextImageProcessorPil(), "ConvNextImageProcessor"),
    }


@pytest.mark.parametrize("name", ["clip", "clip-small", "vit", "swin", "dinov2", "convnext", "convnext-384"])
def test_pictures_are_processed_as_in_transformers(odd, tmp_path, name):
    reference, kind = processors()[name]
    published = json.loads(reference.to_json_string())
    published["image_processor_type"] = kind
    (tmp_path / "config.json").write_text(json.dumps(published))
    run(tmp_path / "config.json", tmp_path / "out", *odd)
    got = load_file(tmp_path / "out")["pixel_values"]
    want = reference([Image.open(f) for f in odd], return_tensors="np")["pixel_values"]
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(tmp_path, orientation, format):
    from PIL import ImageOps

    image = Image.open(picture("chelsea.png")).convert("RGB").resize((40, 24))
    exif = Image.Exif()
    exif[0x112] = orientation
    file = tmp_path / "image"
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    image.save(file, format, exif=exif, **options)
    run("--decode", "image", tmp_path / "out", file)
    got = load_file(tmp_path / "out")["0"].astype(int)
    want = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB")).astype(int)
    assert got.shape == want.shape
    # libjpeg versions differ by a rounding in the inverse transform.
    assert np.abs(got - want).max() <= (4 if format == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_modes_become_rgb(tmp_path, mode):
    base = Image.open(picture("chelsea.png")).convert("RGB").resize((40, 24))
    if mode == "I;16":
        values = np.asarray(base.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(values)
        want = base.convert("L").convert("RGB")
    elif mode in ("LA", "RGBA"):
        image = base.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize((40, 24)))
        want = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    else:
        image = base.convert(mode)
        want = image.convert("RGB")
    image.save(tmp_path / "image.png")
    run("--decode", "image", tmp_path / "out", tmp_path / "image.png")
    got = load_file(tmp_path / "out")["0"].astype(int)
    assert np.abs(got - np.asarray(want).astype(int)).max() <= (1 if mode in ("LA", "RGBA") else 0)


def write_wav(path, samples, rate):
    """Mono float samples as 16-bit PCM; returns what the file holds."""
    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(pcm.tobytes())
    return pcm.astype(np.float32) / 32768


def sound(seconds, rate, seed):
    """A gliding voice-like tone with noise and a silent part."""
    t = np.arange(int(seconds * rate)) / rate
    random = np.random.default_rng(seed)
    pitch = 2 * np.pi * (140 + 40 * np.sin(3 * t)) * t
    out = sum(0.3 / k * np.sin(k * pitch) for k in range(1, 12)) * (0.6 + 0.4 * np.sin(7 * t))
    out[len(out) // 2 : len(out) // 2 + rate // 10] = 0
    return np.clip(out * 0.5 + 0.01 * random.standard_normal(len(t)), -1, 1)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    files, waves = [], []
    for i, seconds in enumerate([2.0, 0.513, 3.7001]):
        files.append(folder / f"{i}.wav")
        waves.append(write_wav(files[-1], sound(seconds, 16000, i), 16000))
    return files, waves


def process(tmp_path, config, files):
    (tmp_path / "config.json").write_text(json.dumps(config))
    run(tmp_path / "config.json", tmp_path / "out", *files)
    return load_file(tmp_path / "out")


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("seconds", [30, 3])
def test_whisper_features(sounds, tmp_path, mels, seconds):
    from transformers import WhisperFeatureExtractor

    files, waves = sounds
    reference = WhisperFeatureExtractor(feature_size=mels, chunk_length=seconds)
    want = reference(waves, sampling_rate=16000, return_tensors="np", return_attention_mask=True)
    got = process(tmp_path, {"type": "whisper", "mels": mels, "seconds": seconds}, files)
    assert got["input_features"].shape == want["input_features"].shape
    assert np.abs(got["input_features"] - want["input_features"]).max() <= 1e-4
    assert (got["attention_mask"] == want["attention_mask"]).all()


def test_whisper_features_at_their_own_length(sounds, tmp_path):
    from transformers import WhisperFeatureExtractor

    files, waves = sounds
    want = WhisperFeatureExtractor()(waves[0], sampling_rate=16000, padding="longest", return_tensors="np")
    got = process(tmp_path, {"type": "whisper", "pad": "longest"}, files[:1])
    assert np.abs(got["input_features"] - want["input_features"]).max() <= 1e-4


def test_waveform_normalisation(sounds, tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    files, waves = sounds
    reference = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    want = reference(waves, sampling_rate=16000, padding=True, return_tensors="np")
    got = process(tmp_path, json.loads(reference.to_json_string()) | {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, files)
    assert np.abs(got["input_values"] - want["input_values"]).max() <= 1e-4
    assert (got["attention_mask"] == want["attention_mask"]).all()


@pytest.mark.parametrize("reflect", [False, True])
def test_mel_power_is_librosas(sounds, tmp_path, reflect):
    """The speaker encoder's features: resemblyzer calls librosa with these numbers."""
    import librosa

    files, waves = sounds
    config = {"type": "log_mel", "mels": 40, "log": "none", "reflect": reflect}
    got = process(tmp_path, config, files)
    for i, samples in enumerate(waves):
        mode = "reflect" if reflect else "constant"
        want = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=400, hop_length=160, n_mels=40, pad_mode=mode)
        frames = want.shape[1]
        assert got["attention_mask"][i].sum() == frames
        assert np.abs(got["input_features"][i, :, :frames] - want).max() <= 1e-4 * max(1, want.max())


def test_log_mel_is_librosas(sounds, tmp_path):
    import librosa

    files, waves = sounds
    config = {"type": "log_mel", "n_fft": 512, "hop": 128, "mels": 64, "min_hz": 50, "max_hz": 7600, "log": "log10", "floor": 1e-8}
    got = process(tmp_path, config, files[:1])["input_features"][0]
    want = librosa.feature.melspectrogram(y=waves[0], sr=16000, n_fft=512, hop_length=128, n_mels=64, fmin=50, fmax=7600)
    assert np.abs(got - np.log10(np.maximum(want, 1e-8))).max() <= 1e-4


@pytest.mark.parametrize("rates", [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000), (16000, 24000)])
def test_resampling(tmp_path, rates):
    """Against soxr's best quality, below 85 % of the lower Nyquist frequency, where both should be transparent."""
    import scipy.signal
    import soxr

    source, target = rates
    t = np.arange(2 * source) / source
    edge = 0.85 * min(rates) / 2
    samples = 0.5 * scipy.signal.chirp(t, 60, 2, edge)
    held = write_wav(tmp_path / "a.wav", samples, source)
    run("--resample", target, tmp_path / "out", tmp_path / "a.wav")
    got = load_file(tmp_path / "out")["samples"]
    want = soxr.resample(held.astype(np.float64), source, target, quality="VHQ")
    assert abs(len(got) - len(want)) <= 2
    n = min(len(got), len(want))
    margin = target // 50
    error = (got[:n] - want[:n])[margin:-margin]
    assert np.abs(error).max() <= 2e-3
    # At least 60 dB below the tone.
    assert np.sqrt(np.mean(error**2)) <= 1e-3 * np.sqrt(np.mean(want**2))


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000)])
def test_resampling_removes_what_would_fold_back(tmp_path, rates):
    source, target = rates
    t = np.arange(source) / source
    write_wav(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * (target / 2 + 1500) * t), source)
    run("--resample", target, tmp_path / "out", tmp_path / "a.wav")
    got = load_file(tmp_path / "out")["samples"][target // 10 : -target // 10]
    assert np.sqrt(np.mean(got**2)) <= 1e-3
