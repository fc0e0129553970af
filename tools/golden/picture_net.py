"""Golden file of PictureNet: its formulas written a second time with plain torch, channels first."""
import torch
import torch.nn.functional as F
from common import write

STEM, CHANNELS, DEPTHS, KERNEL, EXPANSION, HEADS = 6, [8, 12, 16], [1, 1, 2], 5, 2, 2
generator = torch.Generator().manual_seed(0)
weights = {}


def weight(name, *shape, around=0.0):
    fan_in = max(torch.Size(shape[1:]).numel(), 1)
    scale = fan_in**-0.5 if len(shape) > 1 else 0.2
    weights[name] = around + scale * torch.randn(*shape, generator=generator)


def norm_weights(name, width):
    weight(f"{name}.weight", width, around=1.0)
    weight(f"{name}.bias", width)


def layer(name, out, *rest):
    weight(f"{name}.weight", out, *rest)
    weight(f"{name}.bias", out)


layer("stem", STEM, 3, 3, 3)
before = STEM
for i, (width, depth) in enumerate(zip(CHANNELS, DEPTHS)):
    norm_weights(f"stages.{i}.norm", before)
    side = 3 if i == 0 else 2
    layer(f"stages.{i}.downsample", width, before, side, side)
    for b in range(depth):
        at = f"stages.{i}.blocks.{b}"
        layer(f"{at}.depthwise", width, 1, KERNEL, KERNEL)
        norm_weights(f"{at}.norm", width)
        layer(f"{at}.expand", EXPANSION * width, width)
        layer(f"{at}.project", width, EXPANSION * width)
    before = width
norm_weights("norm", before)
weights["pool.query"] = torch.randn(1, 1, before, generator=generator)
for name in ("key", "value", "out"):
    layer(f"pool.{name}", before, before)


def norm(x, name, eps=1e-5):
    """Over the channels of [B, C, H, W]."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    x = (x - mean) / (variance + eps).sqrt()
    return x * weights[f"{name}.weight"].view(1, -1, 1, 1) + weights[f"{name}.bias"].view(1, -1, 1, 1)


def pointwise(x, name):
    return torch.einsum("bchw,oc->bohw", x, weights[f"{name}.weight"]) + weights[f"{name}.bias"].view(1, -1, 1, 1)


def conv(x, name, **options):
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)


def linear(x, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


pixels = torch.randn(2, 3, 37, 50, generator=generator)
x = conv(pixels, "stem", stride=2, padding=1)
for i, depth in enumerate(DEPTHS):
    x = conv(norm(x, f"stages.{i}.norm"), f"stages.{i}.downsample", stride=2, padding=1 if i == 0 else 0)
    for b in range(depth):
        at = f"stages.{i}.blocks.{b}"
        y = norm(conv(x, f"{at}.depthwise", padding=KERNEL // 2, groups=x.shape[1]), f"{at}.norm")
        x = x + pointwise(gelu(pointwise(y, f"{at}.expand")), f"{at}.project")
tokens = norm(x, "norm").flatten(2).transpose(1, 2)

keys, values = linear(tokens, "pool.key"), linear(tokens, "pool.value")
width = CHANNELS[-1] // HEADS
found = []
for h in range(HEADS):
    part = slice(h * width, (h + 1) * width)
    attention = torch.softmax(keys[..., part] @ weights["pool.query"][0, 0, part] / width**0.5, dim=1)
    found.append((attention.unsqueeze(-1) * values[..., part]).sum(1))
pooled = tokens.mean(1) + linear(torch.cat(found, -1), "pool.out")

write("picture_net", dict(stem_channels=STEM, channels=CHANNELS, depths=DEPTHS, kernel=KERNEL, expansion=EXPANSION,
                          num_attention_heads=HEADS),
      weights, {"pixel_values": pixels}, {"last_hidden_state": tokens, "pooled": pooled}, f"torch {torch.__version__}")
