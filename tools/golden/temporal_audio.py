"""Golden file of the temporal audio extractor: a second implementation on torch.nn, row by row without masks."""
import torch
from common import randomise, write
from torch import nn

config = dict(num_mel_bins=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
              kernel_size=3)


def named(**modules):
    return nn.ModuleDict(modules)


class Temporal(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.ModuleList(
            [named(depthwise=nn.Conv1d(n, n, 5, stride=2, padding=2, groups=n), pointwise=nn.Linear(n, 16),
                   norm=nn.LayerNorm(16)) for n in (8, 16)])
        self.blocks = nn.ModuleList([
            named(attention=named(norm=nn.LayerNorm(16), qkv=nn.Linear(16, 48), out=nn.Linear(16, 16)),
                  convolution=named(norm=nn.LayerNorm(16), **{"in": nn.Linear(16, 32)},
                                    depthwise=nn.Conv1d(16, 16, 3, padding=1, groups=16), inner_norm=nn.LayerNorm(16),
                                    out=nn.Linear(16, 16)),
                  feed_forward=named(norm=nn.LayerNorm(16), **{"in": nn.Linear(16, 24)}, out=nn.Linear(24, 16)))
            for _ in range(2)])
        self.norm = nn.LayerNorm(16)
        self.pool = nn.Linear(16, 2, bias=False)

    def forward(self, mel):
        """[mels, frames] → tokens [T, D], pooled [D]."""
        x = mel[None]
        for s in self.stem:
            x = nn.functional.gelu(s["norm"](s["pointwise"](s["depthwise"](x).transpose(1, 2)))).transpose(1, 2)
        x = x[0].T
        for b in self.blocks:
            a, c, f = b["attention"], b["convolution"], b["feed_forward"]
            q, k, v = a["qkv"](a["norm"](x)).split(16, -1)
            heads = [torch.softmax(q[:, s] @ k[:, s].T / 8**0.5, -1) @ v[:, s] for s in (slice(0, 8), slice(8, 16))]
            x = x + a["out"](torch.cat(heads, -1))
            value, gate = c["in"](c["norm"](x)).split(16, -1)
            mixed = c["depthwise"]((value * torch.sigmoid(gate)).T[None])[0].T
            x = x + c["out"](nn.functional.silu(c["inner_norm"](mixed)))
            x = x + f["out"](nn.functional.silu(f["in"](f["norm"](x))))
        x = self.norm(x)
        weights = torch.softmax(self.pool(x), 0)
        return x, torch.cat([(x[:, :8] * weights[:, :1]).sum(0), (x[:, 8:] * weights[:, 1:]).sum(0)])


model = randomise(Temporal())
features = torch.randn(2, 8, 43, generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 43, dtype=torch.long)
mask[1, 30:] = 0
with torch.no_grad():
    pooled = torch.stack([model(features[0])[1], model(features[1, :, :30])[1]])
write("temporal_audio", config, model.state_dict(), {"input_features": features, "attention_mask": mask},
      {"pooled": pooled}, "tools/golden/temporal_audio.py (torch.nn)")
