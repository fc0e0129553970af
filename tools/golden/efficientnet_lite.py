"""Golden file of EfficientNet-Lite from the package efficientnet-lite-pytorch."""
import torch
from common import randomise, write
from efficientnet_lite_pytorch import BlockDecoder, EfficientNet, GlobalParams

config = dict(width_coefficient=0.1, depth_coefficient=1.0, fix_head_stem=False, channels=[160, 80, 120],
              repeats=[1, 2, 1], kernels=[3, 5, 3], strides=[1, 2, 2], expansions=[1, 6, 6], num_classes=5)
blocks = BlockDecoder.decode(["r1_k3_s11_e1_i32_o160", "r2_k5_s22_e6_i160_o80", "r1_k3_s22_e6_i80_o120"])
params = GlobalParams(width_coefficient=0.1, depth_coefficient=1.0, image_size=None, dropout_rate=0.2, num_classes=5,
                      batch_norm_momentum=0.99, batch_norm_epsilon=1e-3, drop_connect_rate=0.2, depth_divisor=8,
                      min_depth=None, relu_fn="relu6", fix_head_stem=False, local_pooling=False, use_se=False)
model = randomise(EfficientNet(blocks, params))
# The first stage changes the width: where it does not, this package leaves out the skip connection that the TensorFlow
# original has (it compares a list with a number); no published size is affected.
# Odd and uneven sides, so that both kinds of "SAME" padding occur.
pixels = torch.randn(2, 3, 21, 14, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    features = model.extract_features(pixels)
    logits = model(pixels)
write("efficientnet_lite", config, model.state_dict(), {"pixel_values": pixels},
      {"last_hidden_state": features.flatten(2).transpose(1, 2), "pooled": features.mean((2, 3)), "logits": logits},
      "efficientnet-lite-pytorch 0.1.0")
