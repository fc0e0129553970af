"""Golden file of Swin Transformer V2: shifted windows, padding and a pretrained window size all occur."""
import torch
import transformers
from common import published_state, randomise, write
from transformers import Swinv2Config, Swinv2Model

config = dict(image_size=32, patch_size=2, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=4,
              pretrained_window_sizes=[0, 3], mlp_ratio=2.0)
model = randomise(Swinv2Model(Swinv2Config(**config)))
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if name.endswith("logit_scale"):
            parameter.copy_(torch.linspace(0.5, 2.5, parameter.numel()).view_as(parameter))
pixels = torch.randn(2, 3, 27, 21, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    out = model(pixels)
write("swin_v2", config, published_state(model), {"pixel_values": pixels},
      {"last_hidden_state": out.last_hidden_state, "pooled": out.pooler_output}, f"transformers {transformers.__version__}")
