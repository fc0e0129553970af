"""Golden file of the series encoder: a second implementation on torch.nn, row by row without masks where it can."""
import torch
from common import randomise, write
from torch import nn

config = dict(channels=3, patch_length=4, max_length=32, kernel_size=3, stem_size=8, hidden_size=16, num_hidden_layers=2,
              num_attention_heads=2, intermediate_size=24)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.fc1, self.fc2 = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = self.qkv(y).split(16, -1)
        heads = []
        for h in range(2):
            s = slice(8 * h, 8 * h + 8)
            weights = torch.softmax(q[:, s] @ k[:, s].T / 8**0.5, -1)
            heads.append(weights @ v[:, s])
        x = x + self.out(torch.cat(heads, -1))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(6, 8, 3, padding=1)
        self.patches = nn.Conv1d(8, 16, 4, stride=4)
        self.statistics = nn.Linear(9, 16)
        self.positions = nn.Embedding(8, 16)
        self.layers = nn.ModuleList([Layer() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward(self, values, real):
        """One row: values [T, C] (NaN: missing), real [T] → its real tokens [N, D]."""
        seen = ~values.isnan() & real[:, None]
        scaled, statistics = torch.zeros_like(values), []
        for c in range(3):
            x = values[seen[:, c], c]
            mean, spread = x.mean(), x.std(correction=0)
            scaled[seen[:, c], c] = (x - mean) / (spread + 1e-5)
            statistics.append((mean.sign() * torch.log1p(mean.abs()), torch.log(spread + 1e-5), len(x) / real.sum()))
        statistics = torch.tensor(statistics).T.flatten()
        x = torch.cat([scaled, seen.float()], -1).T[None]
        x = nn.functional.gelu(self.stem(x)) * real
        x = nn.functional.pad(x, (0, -len(real) % 4))
        x = self.patches(x)[0].T + self.positions.weight[: x.shape[-1] // 4]
        filled = nn.functional.pad(real, (0, -len(real) % 4)).view(-1, 4).any(-1)
        x = torch.cat([self.statistics(statistics)[None], x[filled]])
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


model = randomise(Series())
values = torch.randn(3, 22, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0, 0.1]) + 3
mask = torch.ones(3, 22, dtype=torch.long)
mask[1, 13:] = 0
mask[2, 5:14] = 0
values[0, 3, 1] = float("nan")
with torch.no_grad():
    full = model(values[0], mask[0].bool())
    short = model(values[1, :13], mask[1, :13].bool())
    gap = model(values[2], mask[2].bool())
write("patch_series", config, model.state_dict(), {"values": values, "attention_mask": mask},
      {"pooled": torch.stack([x.mean(0) for x in (full, short, gap)])}, "tools/golden/patch_series.py (torch.nn)")
