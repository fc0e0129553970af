"""Small encoded files for the decoders' tests: tests/data/files/*, made with Pillow and libsndfile from seeded content,
and tests/golden/preprocess/*.safetensors with the reference's features of the same content."""

import pathlib

import numpy as np
import soundfile
from PIL import Image
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "data" / "files"
GOLDEN = ROOT / "tests" / "golden" / "preprocess"


def picture():
    """47 x 31, smooth with edges."""
    y, x = np.mgrid[0:31, 0:47].astype(np.float64)
    rgb = np.stack([127 + 120 * np.sin(x / 5), 127 + 120 * np.cos(y / 4 + x / 9), 255 * (((x // 8) + (y // 8)) % 2)], -1)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def sound(rate=16000, seconds=0.6):
    t = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(0).standard_normal(len(t))
    return (0.4 * np.sin(2 * np.pi * (300 * t + 400 * t * t)) + 0.02 * noise).astype(np.float32)


def main():
    FILES.mkdir(parents=True, exist_ok=True)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    image = picture()
    image.save(FILES / "picture.png")
    image.save(FILES / "picture.webp", lossless=True)
    image.save(FILES / "picture.tiff", compression="tiff_lzw")
    image.save(FILES / "picture.bmp")
    exif = Image.Exif()
    exif[0x112] = 6
    image.save(FILES / "turned.jpg", quality=95, exif=exif)
    image.save(FILES / "picture.jpg", quality=95)
    wave = sound()
    stereo = np.stack([wave, 0.5 * wave], 1)
    soundfile.write(FILES / "sound.wav", wave, 16000, subtype="PCM_16")
    soundfile.write(FILES / "stereo.wav", stereo, 16000, subtype="FLOAT")
    soundfile.write(FILES / "sound.flac", wave, 16000)
    soundfile.write(FILES / "sound.ogg", wave, 16000)
    soundfile.write(FILES / "sound.mp3", wave, 16000)

    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor, __version__
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    import PIL

    held = soundfile.read(FILES / "sound.wav", dtype="float32")[0]
    whisper = WhisperFeatureExtractor(feature_size=80, chunk_length=1)(held, sampling_rate=16000, return_tensors="np")
    wav2vec = Wav2Vec2FeatureExtractor()(held, sampling_rate=16000, return_tensors="np")
    clip = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    outputs = {
        "pixels": np.asarray(image),
        "resized.bicubic": np.asarray(image.resize((20, 13), Image.BICUBIC)),
        "resized.bilinear": np.asarray(image.resize((64, 50), Image.BILINEAR)),
        "resized.lanczos": np.asarray(image.resize((9, 30), Image.LANCZOS)),
        "clip": clip(image, return_tensors="np")["pixel_values"],
        "samples": held,
        "whisper": whisper["input_features"],
        "wav2vec2": wav2vec["input_values"].astype(np.float32),
    }
    metadata = {"reference": f"transformers {__version__}, Pillow {PIL.__version__}"}
    save_file({k: np.ascontiguousarray(v) for k, v in outputs.items()}, GOLDEN / "preprocess.safetensors", metadata)


if __name__ == "__main__":
    main()
