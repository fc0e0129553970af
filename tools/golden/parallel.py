"""Golden file of the parallel encoder: two EfficientNet-Lite references, the second fed a resized picture."""
import torch
from common import randomise, write
from efficientnet_lite_pytorch import BlockDecoder, EfficientNet, GlobalParams

part = dict(width_coefficient=0.1, depth_coefficient=1.0, fix_head_stem=False, channels=[160, 80],
            repeats=[1, 1], kernels=[3, 3], strides=[1, 2], expansions=[1, 6], num_classes=0)
blocks = BlockDecoder.decode(["r1_k3_s11_e1_i32_o160", "r1_k3_s22_e6_i160_o80"])
params = GlobalParams(width_coefficient=0.1, depth_coefficient=1.0, image_size=None, dropout_rate=0.2, num_classes=1,
                      batch_norm_momentum=0.99, batch_norm_epsilon=1e-3, drop_connect_rate=0.2, depth_divisor=8,
                      min_depth=None, relu_fn="relu6", fix_head_stem=False, local_pooling=False, use_se=False)
models = [randomise(EfficientNet(blocks, params), seed=s) for s in (0, 1)]
pixels = torch.randn(2, 3, 21, 21, generator=torch.Generator().manual_seed(1))
small = torch.nn.functional.interpolate(pixels, (12, 12), mode="bilinear", antialias=True)
with torch.no_grad():
    maps = [models[0].extract_features(pixels), models[1].extract_features(small)]
weights = {f"{i}.{k}": v for i, m in enumerate(models) for k, v in m.state_dict().items() if not k.startswith("_fc")}
tokens = [m.flatten(2).transpose(1, 2) for m in maps]
widths = [t.shape[2] for t in tokens]
tokens = torch.cat([torch.nn.functional.pad(tokens[0], (0, widths[1])), torch.nn.functional.pad(tokens[1], (widths[0], 0))], 1)
encoders = [{"type": "efficientnet_lite", **part}] * 2
write("parallel", {"encoders": encoders, "image_sizes": [0, 12]}, weights, {"pixel_values": pixels},
      {"last_hidden_state": tokens, "pooled": torch.cat([m.mean((2, 3)) for m in maps], 1)},
      "efficientnet-lite-pytorch 0.1.0")
