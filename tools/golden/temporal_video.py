"""Golden file of the streaming video encoder: a second implementation on torch.nn, row by row, frame by frame for the
convolutions and key by key for attention, without masks or padding."""
import torch
from common import randomise, write
from torch import nn

config = dict(stem_channels=[4, 8], temporal_kernel=3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
              intermediate_size=24, window=3)
WINDOW = config["window"]


def named(**modules):
    return nn.ModuleDict(modules)


class Block(nn.ModuleDict):
    def __init__(self):
        super().__init__(dict(attention_norm=nn.LayerNorm(16), qkv=nn.Linear(16, 48), out=nn.Linear(16, 16),
                              norm=nn.LayerNorm(16), wide=nn.Linear(16, 24), narrow=nn.Linear(24, 16)))
        self.distance_bias = nn.Parameter(torch.zeros(2, WINDOW))


class TemporalVideo(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.ModuleList([named(convolution=nn.Conv3d(i, o, 3, stride=(1, 2, 2), padding=(0, 1, 1)), norm=nn.GroupNorm(4, o))
                                   for i, o in ((3, 4), (4, 8))])
        self.places = named(score=nn.Linear(8, 2, bias=False), project=nn.Linear(8, 16))
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward(self, video):
        """[T, 3, H, W] → tokens [T, D], pooled [D]."""
        maps = list(video)
        for layer in self.stem:
            seen = [torch.zeros_like(maps[0])] * 2 + maps
            moments = [layer["convolution"](torch.stack(seen[t:t + 3], 1)[None])[:, :, 0] for t in range(len(maps))]
            maps = [nn.functional.gelu(layer["norm"](m))[0] for m in moments]
        x = []
        for m in maps:
            places = m.flatten(1).T
            weights = torch.softmax(self.places["score"](places), 0)
            x.append(self.places["project"](torch.cat([(places[:, :4] * weights[:, :1]).sum(0), (places[:, 4:] * weights[:, 1:]).sum(0)])))
        x = torch.stack(x)
        for b in self.blocks:
            q, k, v = b["qkv"](b["attention_norm"](x)).split(16, -1)
            mixed = []
            for t in range(len(x)):
                seen = range(max(0, t - WINDOW + 1), t + 1)
                heads = []
                for h, part in enumerate((slice(0, 8), slice(8, 16))):
                    scores = torch.stack([q[t, part] @ k[s, part] / 8**0.5 + b.distance_bias[h, t - s] for s in seen])
                    heads.append(torch.softmax(scores, 0) @ torch.stack([v[s, part] for s in seen]))
                mixed.append(torch.cat(heads))
            x = x + b["out"](torch.stack(mixed))
            x = x + b["narrow"](nn.functional.gelu(b["wide"](b["norm"](x))))
        x = self.norm(x)
        return x, x[-WINDOW:].mean(0)


model = randomise(TemporalVideo())
pixels = torch.randn(2, 7, 3, 13, 18, generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 7, dtype=torch.long)
mask[1, 5:] = 0
with torch.no_grad():
    pooled = torch.stack([model(pixels[0])[1], model(pixels[1, :5])[1]])
write("temporal_video", config, model.state_dict(), {"pixel_values": pixels, "attention_mask": mask},
      {"pooled": pooled}, "tools/golden/temporal_video.py (torch.nn)")
