"""torch.optim.AdamW over two groups with clipping and warm-up + cosine, step by step → tests/golden/train/adamw.safetensors."""
import math
import pathlib

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "train"
STEPS, WARMUP, CLIP, LR = 12, 3, 1.5, 3e-2

generator = torch.Generator().manual_seed(0)
weight = torch.nn.Parameter(torch.randn(5, 7, generator=generator))
bias = torch.nn.Parameter(torch.randn(5, generator=generator))
rare = torch.nn.Parameter(torch.randn(3, 4, generator=generator))
tensors = {"inputs.weight": weight, "inputs.bias": bias, "inputs.rare": rare}
tensors = {k: v.detach().clone() for k, v in tensors.items()}
optimizer = torch.optim.AdamW(
    [{"params": [weight, rare], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0, "lr": LR * 0.5}],
    lr=LR, betas=(0.85, 0.97), eps=1e-6)
schedule = torch.optim.lr_scheduler.LambdaLR(
    optimizer,
    lambda s: (s + 1) / (WARMUP + 1) if s < WARMUP else 0.5 * (1 + math.cos(math.pi * (s - WARMUP) / (STEPS - WARMUP))))
for step in range(STEPS):
    for name, p in (("weight", weight), ("bias", bias), ("rare", rare)):
        # A parameter that gets no gradient at some steps must be left alone then, decay included.
        p.grad = None if name == "rare" and step % 3 else torch.randn(p.shape, generator=generator)
        if p.grad is not None:
            tensors[f"inputs.{step}.{name}"] = p.grad.clone()
    norm = torch.nn.utils.clip_grad_norm_([weight, bias, rare], CLIP)
    tensors[f"outputs.{step}.norm"] = norm.clone()
    optimizer.step()
    schedule.step()
    for name, p in (("weight", weight), ("bias", bias), ("rare", rare)):
        tensors[f"outputs.{step}.{name}"] = p.detach().clone()
FOLDER.mkdir(parents=True, exist_ok=True)
save_file(tensors, FOLDER / "adamw.safetensors", metadata={"reference": f"torch {torch.__version__.split('+')[0]}"})
