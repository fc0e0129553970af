"""Writes golden files: tensors "weights.*", "inputs.*", "outputs.*" and the metadata that the C++ suite reads."""
import json
import os
import pathlib
import re
import tempfile

import torch
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
MAX_BYTES = 200 * 1024

torch.set_num_threads(1)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def randomise(module, seed=0, scale=None):
    """Seeded weights for a reference module: every parameter differs from its initial constant (a bias of zeros would
    hide a missing bias), running statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() >= 2:
                fan_in = max(parameter[0].numel(), 1)
                parameter.copy_(noise * (scale or fan_in**-0.5))
            elif parameter.dim() == 1 and bool((parameter == 1).all()):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.1 * noise)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.eval()


def published_state(module):
    """The weights under the names in which the published checkpoints have them."""
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder)
        return load_file(pathlib.Path(folder) / "model.safetensors")


def rename(state, table):
    """Applies regular expressions to the names, in order."""
    out = {}
    for name, tensor in state.items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor
    return out


def write(model, config, weights, inputs, outputs, reference, name=None):
    """Writes tests/golden/<name or model>.safetensors. `config` is the Plait config without "type"."""
    tensors = {}
    for prefix, group in (("weights", weights), ("inputs", inputs), ("outputs", outputs)):
        for key, value in group.items():
            tensors[f"{prefix}.{key}"] = value.detach().clone().contiguous()
    path = FOLDER / f"{name or model}.safetensors"
    FOLDER.mkdir(parents=True, exist_ok=True)
    metadata = {"config": json.dumps(config), "model": model, "reference": reference}
    save_file(tensors, path, metadata=metadata)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{path}: expected at most {MAX_BYTES} bytes, got {size}")
    print(f"{path.name}: {size / 1024:.0f} KiB, {len(weights)} weights")
